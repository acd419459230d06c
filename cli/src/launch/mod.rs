//! How does a plan run? It is bound to its inputs, one of the two runners is chosen by the sources, and the run is
//! reported.

pub mod config;
pub mod dry_run;
pub mod make_deps;
pub mod signal;
pub mod spec;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use connector::overlaps;
use runner::{Cut, History, Job, Manifest, Report, SideInput, batch, roll_forward, stream};
use scan::Scan;

use crate::culprit;
use crate::exit::Usage;
use crate::launch::config::config;
use crate::launch::dry_run::would_run;
use crate::launch::signal::{STOPPED, stop_on_signal};
use crate::launch::spec::spec;
use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::plan::history::Lateness;
use crate::plan::open::{Opened, open};
use crate::plan::side::load_sides;
use crate::show::sample_report;
use crate::show::{Show, report};
use crate::words::{absolute, location};

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
    let scan = Scan::new(&plan.script, &plan.binding(opened.schemas())?).await?;
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
            let asked = plan.asked()?;
            batch(Arc::new(job), places, asked, |progress| show.progress(progress)).await?
        }
        Opened::Stream(feeds, ..) => {
            stream(&job, feeds, cut(&plan.flags, lateness.history), |progress| show.progress(progress)).await?
        }
    };
    drop(show);
    finish(&plan, &done).await
}

fn job(plan: &Plan, opened: &Opened, sides: Vec<SideInput>, scan: Scan, lateness: Lateness) -> Result<Job> {
    let config = config(plan, opened, &sides, lateness)?;
    Ok(Job {
        command: plan.command.clone(),
        spec: spec(plan, opened, &sides, &scan, lateness, &config)?,
        config,
        out: plan.flags.out.clone(),
        time: plan.flags.time(),
        sides,
        merged: plan.merged.clone(),
        init_state: plan.states().into_iter().collect(),
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
        rows_max: flags.max_rows,
        interval: flags.interval,
        commit_interval: flags.commit_interval,
        pending_rows_max: flags.memory_limit.map_or(4_000_000, |bytes| bytes / 1024),
        follow: flags.follow,
        history,
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

fn refuse_no_place(plan: &Plan) -> Result<()> {
    let out = &plan.flags.out;
    if out.as_os_str().is_empty() && !plan.flags.show.explain {
        return Err(Usage("nothing says where the output goes: write --out DIR".to_owned()).into());
    }
    if out.is_file() {
        return Err(Usage(format!("--out {} is a file: give a directory", out.display())).into());
    }
    if plan.states().contains(&absolute(out)) {
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
        if local(uri)?.is_some() && overlaps(uri, &out)? {
            return Err(Usage(format!(
                "--out {} and --in {uri} overlap: give the output a directory of its own",
                out.display()
            ))
            .into());
        }
    }
    Ok(())
}

fn explain(plan: &Plan, scan: &Scan, opened: &Opened) {
    println!("{}", scan.script().text.trim_end());
    println!(
        "\n-- sources: {}, as {}",
        plan.shown(),
        if matches!(opened, Opened::Batch(..)) { "batch" } else { "stream" }
    );
    println!("-- the plan of one step");
    print!("{}", scan.explain());
}
