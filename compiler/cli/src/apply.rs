//! `onvmc plan` and `onvmc apply`.

use std::{
    io::{BufRead, IsTerminal, Write, stderr, stdin},
    path::{Path, PathBuf},
};

use onvm_api::{API_VERSION, ApiError, ApplyRequest, Client, ClientError, Status};
use onvm_bundle::diff::{Diff, diff_running};
use onvmc::{Inputs, traffic::Changes};

use super::{
    Outcome,
    args::{ApplyArgs, PlanArgs, SourceArgs, TargetArgs},
    build::write,
    client::{self, Failure, Wanted},
    diff::text,
    input::Side,
    output::Output,
    traffic,
};

/// The planned change and its manager.
struct Planned {
    client: Client,
    status: Status,
    side: Side,
    diff: Diff,
    /// None: there is nothing to change, or it cannot be known.
    moved: Option<Changes>,
    /// Every standard NF takes its parameters.
    starts: bool,
}

pub(super) fn plan(out: &Output, args: &PlanArgs) -> Outcome {
    let planned = match prepare(out, &args.target, &args.source, &args.runtime) {
        Ok(planned) => planned,
        Err(outcome) => return outcome,
    };
    show(out, &planned);
    if !planned.starts {
        return Outcome::Refused;
    }
    if args.exit_code && !planned.diff.is_empty() {
        Outcome::Pending
    } else {
        Outcome::Done
    }
}

pub(super) fn apply(out: &Output, args: &ApplyArgs) -> Outcome {
    let planned = match prepare(out, &args.target, &args.source, &args.runtime) {
        Ok(planned) => planned,
        Err(outcome) => return outcome,
    };
    if !out.json {
        show(out, &planned);
    }
    if planned.diff.is_empty() {
        if out.json {
            show(out, &planned);
        }
        return Outcome::Done;
    }
    // A change that the manager would refuse is not asked about.
    if !planned.diff.needs_restart.is_empty() {
        let refused = ClientError::Refused(ApiError::not_changeable(&planned.diff.needs_restart));
        return Failure::from(refused).report(out);
    }
    if !args.auto_approve && !approved(out) {
        return Outcome::Usage;
    }
    let placed = match place(out, &planned, &args.target) {
        Ok(placed) => placed,
        Err(outcome) => return outcome,
    };
    let bundle = placed.path.to_string_lossy().into_owned();
    let base = Some(planned.status.generation.clone());
    match planned.client.apply(&ApplyRequest {
        version: API_VERSION,
        bundle,
        base,
    }) {
        Err(e) => match Failure::from(e).report(out) {
            Outcome::NoRuntime => Outcome::NoRuntime,
            _ => Outcome::ApplyFailed,
        },
        Ok(reply) => {
            if out.json {
                out.data_json(&serde_json::json!(reply));
            } else {
                let generation = short(&reply.generation);
                out.note(&format!(
                    "Applied in {:.1} ms: generation {generation} runs.",
                    reply.took_ms
                ));
                if !reply.reconfigured.is_empty() {
                    let names = reply.reconfigured.join(", ");
                    out.note(&format!("Reconfigured while running: {names}."));
                }
                if reply.flow_entries_ended > 0 {
                    out.note(&format!(
                        "Flow entries ended that the new program does not permit: {}.",
                        reply.flow_entries_ended
                    ));
                }
                if !reply.draining.is_empty() {
                    let names = reply.draining.join(", ");
                    out.note(&format!("Stopping once their flows have ended: {names}."));
                }
            }
            Outcome::Done
        }
    }
}

fn prepare(
    out: &Output,
    target: &Path,
    source: &SourceArgs,
    runtime: &TargetArgs,
) -> Result<Planned, Outcome> {
    let wanted = match &runtime.to {
        Some(name) => Wanted::Named(Some(name)),
        None => Wanted::For(target),
    };
    let client = client::find(&runtime.runtime, wanted).map_err(|e| e.report(out))?;
    let status = client.status().map_err(|e| Failure::from(e).report(out))?;
    let running = client::running_bundle(out, &status)?;
    let inputs = Inputs {
        name: Some(&running.index.name),
        previous: Some(&running.manager),
        ..Inputs::default()
    };
    let side = Side::read(out, target, source, &inputs).ok_or(Outcome::Refused)?;
    let running = Side::Bundle(Box::new(running));
    let replicas = |nf: &str| {
        let service = status.services.iter().find(|s| s.name == nf)?;
        Some(service.replicas.now)
    };
    let diff = diff_running(running.contents(), side.contents(), replicas);
    let compared = traffic::compare(out, &running, &side, &diff);
    let starts = compared.is_ok();
    let moved = compared.unwrap_or_default();
    Ok(Planned {
        client,
        status,
        side,
        diff,
        moved,
        starts,
    })
}

fn show(out: &Output, planned: &Planned) {
    let (from, to) = (&planned.status.generation, planned.side.generation());
    if out.json {
        out.data_json(&serde_json::json!({
            "version": 1, "bundle": planned.status.bundle, "from": from, "to": to,
            "changes": planned.diff.changes, "needs_restart": planned.diff.needs_restart,
            "instances": planned.diff.instances, "traffic": planned.moved.as_ref().map(traffic::json),
        }));
    } else {
        let title = format!(
            "Plan for {}: generation {} => {}\n",
            planned.status.bundle,
            short(from),
            short(to)
        );
        let moved = planned.moved.as_ref().map(traffic::text).unwrap_or_default();
        out.data(&(title + &text(&planned.diff) + &moved));
    }
}

fn short(generation: &str) -> &str {
    generation.get(..12).unwrap_or(generation)
}

fn approved(out: &Output) -> bool {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        out.error(
            "not_approved",
            "nothing was applied: there is no terminal to ask on. Add `--auto-approve` to apply without a question.",
        );
        return false;
    }
    let _ = write!(stderr().lock(), "Apply these changes? [y/N] ");
    let _ = stderr().lock().flush();
    let mut answer = String::new();
    let read = stdin().lock().read_line(&mut answer);
    let yes = read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !yes {
        out.note("Nothing was applied.");
    }
    yes
}

/// A bundle on disk for as long as an apply takes; the manager copies what it keeps.
struct Placed {
    path: PathBuf,
    /// Removed with what is in it.
    _temporary: Option<tempfile::TempDir>,
}

fn place(out: &Output, planned: &Planned, target: &Path) -> Result<Placed, Outcome> {
    match &planned.side {
        Side::Bundle(_) => match std::fs::canonicalize(target) {
            Ok(path) => Ok(Placed {
                path,
                _temporary: None,
            }),
            Err(e) => {
                out.error("bundle", &format!("{}: {e}", target.display()));
                Err(Outcome::Refused)
            }
        },
        Side::Source(source) => {
            // Beside the bundle that runs: the manager can read there. Elsewhere if this user may not write there.
            let beside = Path::new(&planned.status.bundle_dir)
                .parent()
                .filter(|p| writable(p));
            let within = beside.map_or_else(std::env::temp_dir, Path::to_path_buf);
            let made = tempfile::Builder::new()
                .prefix("onvmc-apply-")
                .tempdir_in(&within);
            let temporary = made.map_err(|e| {
                out.error("write", &format!("{}: {e}", within.display()));
                Outcome::Refused
            })?;
            let path = temporary.path().join("bundle");
            if !write(out, &source.1, &path) {
                return Err(Outcome::Refused);
            }
            Ok(Placed {
                path,
                _temporary: Some(temporary),
            })
        }
    }
}

fn writable(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}
