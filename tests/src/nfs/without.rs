//! `test-nf without CALL,CALL… PROGRAM ARGUMENTS…` runs a program on a host whose kernel does not know these system calls, as an old
//! one or the profile of a container would have it.

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

pub(crate) fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    match arguments.as_slice() {
        [calls, program, rest @ ..] => {
            let failed = match deny(calls) {
                Ok(()) => Command::new(program).args(rest).exec().to_string(),
                Err(why) => why,
            };
            eprintln!("error: {failed}");
        }
        _ => eprintln!("error: expected system calls and a program"),
    }
    ExitCode::FAILURE
}

fn deny(calls: &str) -> Result<(), String> {
    let number = |name: &str| match name {
        "landlock" => Ok(libc::SYS_landlock_create_ruleset),
        "mount" => Ok(libc::SYS_move_mount),
        "seccomp" => Ok(libc::SYS_seccomp),
        other => Err(format!("no system call is known as {other}")),
    };
    let rules = calls
        .split(',')
        .map(|name| Ok((number(name)?, Vec::new())))
        .collect::<Result<BTreeMap<_, _>, String>>()?;
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, arch).map_err(|e| e.to_string())?;
    let filter = BpfProgram::try_from(filter).map_err(|e| e.to_string())?;
    seccompiler::apply_filter(&filter).map_err(|e| e.to_string())
}
