//! The binary: words to values, values to a run, and its end to an exit code.

#[macro_use]
mod print;

mod allocator;
mod culprit;
mod exit;
mod launch;
mod plan;
mod scripts;
mod settings;
mod show;
mod words;

/// Which commands are there? A file each: its words, and what they mean.
mod commands {
    pub mod aggregate;
    pub mod attribute;
    pub mod facts;
    pub mod generate;
    pub mod ingest;
    pub mod inspect;
    pub mod join;
    pub mod merge;
    pub mod reconcile;
    pub mod run;
    pub mod sql;
    pub mod stratify;
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Batch and stream ETL for event data: one function, two runners, and a proof that they agree.
#[derive(Parser)]
#[command(
    name = "rescan",
    version,
    propagate_version = true,
    max_term_width = 120,
    after_help = "Examples:
  rescan generate --to demo/raw
  rescan ingest --in demo/raw/impressions.jsonl --schema impressions --out demo/impressions
  rescan join --in impressions=demo/impressions --in plays=demo/plays --out demo/joined
  rescan reconcile --batch demo/joined --stream demo/joined-stream

`rescan COMMAND --help` has examples of each command. The environment gives flags too, RESCAN_KAFKA_CONFIG for
--kafka-config; secrets are in files and in the environment, and never in an address."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ingest(commands::ingest::Ingest),
    Join(commands::join::Join),
    Aggregate(commands::aggregate::Aggregate),
    Attribute(commands::attribute::Attribute),
    Facts(commands::facts::Facts),
    Stratify(commands::stratify::Stratify),
    Merge(commands::merge::Merge),
    Run(commands::run::Run),
    Reconcile(commands::reconcile::Reconcile),
    Inspect(commands::inspect::Inspect),
    Sql(commands::sql::Sql),
    Generate(commands::generate::made_up::MakeUp),
    /// Prints completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page of rescan, or of one of its commands
    Man {
        /// The command
        command: Option<String>,
    },
}

/// The stack of a thread: an expression of 2,000 operators is walked that deep. What is not used takes no memory.
const STACK: usize = 16 << 20;

fn main() -> ExitCode {
    exit::quiet_panics();
    if let Err(error) = settings::refuse_passwords(settings::given()) {
        return exit::failed(&error);
    }
    let words = settings::with_environment(Cli::command()).get_matches();
    if let Some((_, command)) = words.subcommand() {
        allocator::tune(command);
    }
    let cli = Cli::from_arg_matches(&words).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&anyhow::Error::new(error).context("start the runtime")),
    };
    let run = AssertUnwindSafe(|| runtime.block_on(dispatch(cli.command)));
    let ended = catch_unwind(run).unwrap_or_else(|_| Err(exit::bug()));
    let code = ended.unwrap_or_else(|error| exit::failed(&error));
    // A source's own threads may still wait for a remote; nothing that they hold is needed any more. The end of the
    // process ends them: shutting the runtime down detaches threads that end just then, where glibc (bug 19951) reads
    // the memory of one that has ended. A run that had printed its report died of that.
    std::mem::forget(runtime);
    code
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Ingest(ingest) => launch::launch(ingest.plan()?).await,
        Command::Join(join) => launch::launch(join.plan()?).await,
        Command::Aggregate(aggregate) => launch::launch(aggregate.plan()?).await,
        Command::Attribute(attribute) => attribute.run().await,
        Command::Facts(facts) => launch::launch(facts.plan()?).await,
        Command::Stratify(stratify) => launch::launch(stratify.plan()?).await,
        Command::Merge(merge) => merge.run().await,
        Command::Run(run) => launch::launch(run.plan()?).await,
        Command::Reconcile(reconcile) => reconcile.run().await,
        Command::Inspect(inspect) => inspect.run().await,
        Command::Sql(sql) => sql.run(),
        Command::Generate(generate) => generate.run().await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "rescan", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { command } => words::man(Cli::command(), command.as_deref()),
    }
}
