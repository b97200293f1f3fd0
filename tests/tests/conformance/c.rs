//! What holds in C alone.

use std::process::Command;

use onvm_tests::Scratch;

use crate::programs::compile_c;

/// A program in C, run without a manager.
fn c_alone(body: &str) -> (Option<i32>, String) {
    let scratch = Scratch::new();
    let source = format!("#include <onvm_nf.h>\nint main(void)\n{{\n{body}\n}}\n");
    let path = scratch.write("alone.c", source);
    compile_c(&path, &scratch.path("alone"));
    let output = Command::new(scratch.path("alone")).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn tables_in_c_that_cannot_be_run_are_refused() {
    let run = "ops.abi += 1; return onvm_nf_run(&ops);";
    let (code, said) = c_alone(&format!("onvm_nf_ops ops = ONVM_NF_OPS_INIT; {run}"));
    assert_eq!(code, Some(2));
    assert!(
        said.contains("compiled for version 2") && said.contains("has version 1"),
        "{said}"
    );
    let (code, said) = c_alone("onvm_nf_ops ops = ONVM_NF_OPS_INIT; return onvm_nf_run(&ops);");
    assert_eq!(code, Some(2));
    assert!(said.contains("no `start`"), "{said}");
    let (code, said) = c_alone("return onvm_nf_run(NULL);");
    assert_eq!((code, said.contains("null pointer")), (Some(2), true), "{said}");
}

#[test]
fn null_pointers_in_c_are_refused() {
    let calls = "uint32_t length = 7; bool flag; \
        if (onvm_packet_data(NULL, 0, &length) || length) return 1; \
        if (onvm_set_verdict(NULL, 0, ONVM_DROP, 0) != ONVM_ARGUMENT) return 2; \
        if (onvm_param_bool(NULL, \"x\", &flag) != ONVM_ARGUMENT) return 3; \
        if (onvm_counter_new(NULL, NULL, NULL) != ONVM_ARGUMENT) return 4; \
        if (onvm_burst_length(NULL) || onvm_counter_get(NULL)) return 5; \
        onvm_counter_add(NULL, 1); onvm_log(ONVM_INFO, NULL); onvm_rules_free(NULL); \
        fputs(onvm_error_text(), stderr); return 0;";
    let (code, said) = c_alone(calls);
    assert_eq!((code, said.as_str()), (Some(0), "`setup` is a null pointer"));
}
