//! Whole files.

use onvm_lang::parse;
use onvm_lang::syntax::DeclKind;

#[test]
fn the_example_of_the_reference_parses_without_diagnostics() {
    let parsed = parse(include_str!("corpus/edge.chain"));
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(parsed.file.decls.len(), 18);
    let broken = |d: &&onvm_lang::syntax::Decl| matches!(d.kind.node, DeclKind::Error(_));
    assert_eq!(parsed.file.decls.iter().filter(broken).count(), 0);
}
