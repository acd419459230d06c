//! From a planned command to a run: binds the script to its inputs, chooses the runner by the sources, reports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use arrow::datatypes::Schema;
use runner::{Asked, Cut, History, Job, Made, Manifest, Merged, Report, SideInput, batch, roll_forward, stream};
use scan::{Binding, Literal, Sampling, Scan, Script};

use crate::culprit::{self, Read};
use crate::dry_run::would_run;
use crate::exit::Usage;
use crate::flags::RunFlags;
use crate::history::{DELAY, Lateness};
use crate::make_deps;
use crate::open::{Opened, open};
use crate::policies::Policies;
use crate::regions::Region;
use crate::report_file::ReportFile;
use crate::sample_report;
use crate::show::{Show, report};
use crate::side::load_sides;
use crate::sql::script;
use crate::words::location;

/// What a command line means.
pub struct Plan {
    pub command: String,
    pub script: Script,
    pub inputs: BTreeMap<String, String>,
    /// Columns in place of the script's.
    pub columns: BTreeMap<String, Vec<String>>,
    pub params: BTreeMap<String, Literal>,
    pub approximate: bool,
    /// What is merged; none where inputs have names.
    pub regions: Vec<Region>,
    /// What the inputs are, where they are outputs of regions.
    pub merged: Option<Merged>,
    /// SQL for which names of the script stand.
    pub expressions: BTreeMap<String, Vec<String>>,
    /// How a sample is drawn of what f puts out.
    pub sampling: Option<Sampling>,
    /// The policies to report on, where f puts out tuples.
    pub policies: Option<Policies>,
    /// Whether rows are read as they came, whoever runs f over them.
    pub as_rows: bool,
    /// Where the report of a sample goes.
    pub report: Option<ReportFile>,
    /// The width of the windows that rows of the output begin, microseconds, where they do.
    pub window: Option<i64>,
    /// Whether rows of the output may have other times than the events they are made of.
    pub anywhere: bool,
    /// The event time column of the inputs.
    pub time: String,
    /// `--where` and `--select`.
    pub filter: Option<String>,
    pub select: Option<String>,
    pub flags: RunFlags,
}

impl Plan {
    /// A command of rescan's own, over inputs of these names.
    pub fn of(command: &str, inputs: &[&str], time: String, flags: RunFlags) -> Result<Plan> {
        let (script, inputs) = (script(command)?, flags.named(inputs)?);
        Ok(Plan { command: command.to_owned(), inputs, ..Plan::bare(script, time, flags) })
    }

    /// A script as it is.
    pub fn bare(script: Script, time: String, flags: RunFlags) -> Plan {
        Plan {
            command: script.name.clone(),
            script,
            inputs: BTreeMap::new(),
            columns: BTreeMap::new(),
            params: BTreeMap::new(),
            approximate: false,
            regions: Vec::new(),
            merged: None,
            expressions: BTreeMap::new(),
            sampling: None,
            policies: None,
            as_rows: false,
            report: None,
            window: None,
            anywhere: false,
            time,
            filter: None,
            select: None,
            flags,
        }
    }

    /// Where all that it reads is, but side inputs.
    pub fn uris(&self) -> impl Iterator<Item = &String> {
        self.inputs.values().chain(self.regions.iter().map(|region| &region.uri))
    }

    /// The hours that it reads, side inputs too.
    pub fn reads(&self) -> Result<Read> {
        let sides = self.flags.side.iter().map(|(_, uri)| uri);
        let uris = self.uris().chain(sides).filter(|uri| !uri.starts_with("kafka://") && *uri != "-");
        let s3 = self.flags.s3.options()?;
        Ok(Read { uris: uris.cloned().collect(), s3, hours: self.flags.bounds()? })
    }
}

/// Runs a plan to its end.
pub async fn launch(plan: Plan) -> Result<ExitCode> {
    culprit::named(plan.reads()?, run(plan)).await
}

async fn run(plan: Plan) -> Result<ExitCode> {
    refuse_no_place(&plan)?;
    refuse_overlap(&plan)?;
    if !plan.flags.show.explain && !plan.flags.show.dry_run {
        roll_forward(&plan.flags.out)?;
    }
    let mut opened = open(&plan).await?;
    if matches!(opened, Opened::Batch(..)) && (plan.flags.keep_state || !plan.flags.init_state.is_empty()) {
        let what =
            "--keep-state and --init-state are for streams: a batch run reads the hours before its own by itself";
        return Err(Usage(what.to_owned()).into());
    }
    if matches!(opened, Opened::Stream(..)) && plan.flags.make_deps.is_some() {
        let what = "--make-deps is for batch runs: a stream's hours depend on all that it has read";
        return Err(Usage(what.to_owned()).into());
    }
    let sides = load_sides(&plan, &mut opened).await?;
    let scan = Scan::new(&plan.script, &binding(&plan, &opened)).await?;
    let scan = if plan.merged.is_some() { scan.agreeing() } else { scan };
    if plan.sampling.is_some() && scan.outputs().iter().any(|output| output.schema.index_of("weight").is_ok()) {
        let what = "the input has a column weight, which the sample is to have: leave it out with ingest --select";
        return Err(Usage(what.to_owned()).into());
    }
    if let (Some(policies), [output]) = (&plan.policies, scan.outputs()) {
        policies.check(&output.schema).await?;
    }
    if plan.flags.show.explain {
        explain(&plan, &scan, &opened);
        return Ok(ExitCode::SUCCESS);
    }
    let lateness = Lateness::of(&plan, &opened)?;
    let job = job(&plan, &opened, sides, scan, lateness)?;
    if plan.flags.show.dry_run {
        return would_run(&plan, &job, opened).await;
    }
    let mut show = Show::new(&plan.flags.show, &plan.command);
    let done = match opened {
        Opened::Batch(places, _) => {
            let asked = asked(&plan)?;
            batch(Arc::new(job), places, asked, |progress| show.progress(progress)).await?
        }
        Opened::Stream(feeds, _) => {
            stream(&job, feeds, cut(&plan.flags, lateness.history), |progress| show.progress(progress)).await?
        }
    };
    drop(show);
    finish(&plan, &done).await
}

fn job(plan: &Plan, opened: &Opened, sides: Vec<SideInput>, scan: Scan, lateness: Lateness) -> Result<Job> {
    Ok(Job {
        command: plan.command.clone(),
        config: config(plan, opened, &sides, lateness)?,
        out: plan.flags.out.clone(),
        time: plan.flags.time(),
        sides,
        merged: plan.merged.clone(),
        init_state: states(&plan.flags).into_iter().collect(),
        keep_state: plan.flags.keep_state,
        limits: plan.flags.limits(),
        aside: plan.flags.aside(),
        sampling: plan.sampling.clone(),
        stop: stop_on_signal(),
        scan,
    })
}

fn cut(flags: &RunFlags, history: Option<History>) -> Cut {
    Cut {
        rows_max: flags.max_rows.max(1),
        interval: flags.interval,
        commit_interval: flags.commit_interval,
        pending_rows_max: flags.memory_limit.map_or(4_000_000, |bytes| bytes / 1024),
        follow: flags.follow,
        history,
    }
}

/// What the script of a plan meets.
pub fn binding(plan: &Plan, opened: &Opened) -> Binding {
    Binding {
        inputs: opened.schemas(),
        columns: plan.columns.clone(),
        params: plan.params.clone(),
        expressions: plan.expressions.clone(),
        approximate: plan.approximate,
    }
}

async fn finish(plan: &Plan, done: &Report) -> Result<ExitCode> {
    let estimates = match &plan.policies {
        Some(policies) => policies.report(&plan.flags.out).await?,
        None => Vec::new(),
    };
    if let Some(file) = &plan.flags.make_deps {
        make_deps::write(plan, file, &done.depends)?;
    }
    if let Some((file, sample)) = plan.report.as_ref().zip(Manifest::of(&plan.flags.out)?) {
        sample_report::write(&sample, file)?;
    }
    report(plan.flags.show.json, &plan.command, &plan.flags.out, done, &estimates)?;
    // What comes after it must not take a part for the whole.
    Ok(if done.stopped { ExitCode::from(STOPPED) } else { ExitCode::SUCCESS })
}

/// All places that a plan reads, to be shown.
pub fn uris(plan: &Plan) -> String {
    plan.uris().cloned().collect::<Vec<_>>().join(", ")
}

fn refuse_no_place(plan: &Plan) -> Result<()> {
    let out = &plan.flags.out;
    if out.as_os_str().is_empty() && !plan.flags.show.explain {
        return Err(Usage("nothing says where the output goes: write --out DIR".to_owned()).into());
    }
    if out.is_file() {
        return Err(Usage(format!("--out {} is a file: give a directory", out.display())).into());
    }
    if states(&plan.flags).contains(&absolute(out)) {
        let what = format!("--init-state {} is --out too: give this run a directory of its own", out.display());
        return Err(Usage(what).into());
    }
    for report in plan.report.iter().chain(plan.policies.iter().flat_map(|policies| &policies.files)) {
        report.check(out)?;
    }
    Ok(())
}

/// Reading what one writes would never end, or end wrong.
fn refuse_overlap(plan: &Plan) -> Result<()> {
    let options = plan.flags.s3.options()?;
    if plan.flags.out.as_os_str().is_empty() {
        return Ok(());
    }
    // Links followed: an archive has many names.
    let local = |uri: &str| anyhow::Ok(location(uri, &options)?.local_path());
    let Some(out) = local(&plan.flags.out.to_string_lossy())? else { return Ok(()) };
    for uri in plan.uris().filter(|uri| !uri.starts_with("kafka://") && *uri != "-") {
        let Some(input) = local(uri)? else { continue };
        if input.starts_with(&out) || out.starts_with(&input) && input.is_dir() {
            return Err(Usage(format!(
                "--out {} and --in {uri} overlap: give the output a directory of its own",
                out.display()
            ))
            .into());
        }
    }
    Ok(())
}

/// The columns, each as its name and type.
pub fn columns(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

/// The hours that were asked for.
pub fn asked(plan: &Plan) -> Result<Asked> {
    let (from, to) = plan.flags.range()?;
    let RunFlags { allow_incomplete, force, misfiled, .. } = plan.flags;
    Ok(Asked {
        from,
        to,
        allow_incomplete,
        force,
        window: plan.window,
        anywhere: plan.anywhere,
        misfiled: misfiled.into(),
    })
}

/// What gives the results: another value of any of these gives others.
fn config(plan: &Plan, opened: &Opened, sides: &[SideInput], lateness: Lateness) -> Result<BTreeMap<String, String>> {
    let flags = &plan.flags;
    let mut config = BTreeMap::from([
        ("command".to_owned(), plan.command.clone()),
        ("script".to_owned(), Made::text_of(&plan.script)),
        ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("where".to_owned(), plan.filter.clone().unwrap_or_default()),
        ("select".to_owned(), plan.select.clone().unwrap_or_default()),
        ("approximate".to_owned(), plan.approximate.to_string()),
        ("time".to_owned(), plan.time.clone()),
    ]);
    config.extend(plan.params.iter().map(|(name, value)| (format!("param {name}"), format!("{value:?}"))));
    config.extend(plan.columns.iter().map(|(name, columns)| (format!("column {name}"), columns.join(","))));
    config.extend(plan.expressions.iter().map(|(name, texts)| (format!("expression {name}"), texts.join("\n"))));
    // Where a side input is may change, and what it holds will.
    config.extend(sides.iter().map(SideInput::named).map(|(name, keys)| (format!("side {name}"), keys.join(","))));
    let named = plan.regions.iter().filter_map(|region| Some((region.name.as_ref()?, region.root.to_string())));
    config.extend(named.map(|(name, root)| (format!("region {name}"), root)));
    if let Some(sampling) = &plan.sampling {
        config.insert("rules".to_owned(), serde_json::json!(sampling.rules).to_string());
        config.insert("relax".to_owned(), sampling.relax.to_string());
    }
    let schemas = opened.schemas();
    config.extend(schemas.iter().map(|(name, schema)| (format!("schema {name}"), columns(schema).join(", "))));
    if matches!(opened, Opened::Stream(..)) {
        config.extend(plan.inputs.iter().map(|(name, uri)| (format!("in {name}"), uri.clone())));
        let time = flags.time();
        let times = [
            (DELAY, lateness.written(time.watermark_delay)),
            ("--allowed-lateness", format!("{} µs", time.allowed_lateness)),
            ("--max-future", format!("{} µs", time.max_future)),
        ];
        config.extend(times.map(|(flag, said)| (flag.to_owned(), said)));
        if !flags.init_state.is_empty() {
            config.insert("--init-state".to_owned(), serde_json::json!(states(flags)).to_string());
        }
        let (from, to) = flags.range()?;
        let ends = [("--from", from), ("--to", to)];
        config.extend(ends.into_iter().filter_map(|(flag, hour)| Some((flag.to_owned(), hour?.to_string()))));
    }
    Ok(config)
}

/// The places of state to begin with, each once, whatever order they are named in, and from where. They may be gone by
/// the time a run goes on.
fn states(flags: &RunFlags) -> BTreeSet<PathBuf> {
    flags.init_state.iter().map(|place| absolute(place)).collect()
}

fn absolute(place: &Path) -> PathBuf {
    std::path::absolute(place).unwrap_or_else(|_| place.to_owned())
}

fn explain(plan: &Plan, scan: &Scan, opened: &Opened) {
    println!("{}", scan.script().text.trim_end());
    println!(
        "\n-- sources: {}, as {}",
        uris(plan),
        if matches!(opened, Opened::Batch(..)) { "batch" } else { "stream" }
    );
    println!("-- the plan of one step");
    print!("{}", scan.explain());
}

/// What a run exits with that a signal stopped: to be run again.
const STOPPED: u8 = 75;

/// How long a run may take to finish its epoch after a signal: supervisors kill after 30 s.
const GRACE: Duration = Duration::from_secs(20);

/// The first signal asks the run to stop after its epoch; the second, or the end of its grace, ends it at once, as safe
/// as kill -9.
fn stop_on_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    tokio::spawn(async move {
        signalled().await;
        set.store(true, Ordering::Relaxed);
        eprintln!("rescan: stopping after this epoch; once more stops at once");
        tokio::select! {
            () = signalled() => std::process::exit(130),
            () = tokio::time::sleep(GRACE) => {
                eprintln!("rescan: stopped within an epoch, which is dropped: run it again to go on");
                std::process::exit(STOPPED.into());
            }
        }
    });
    stop
}

async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
