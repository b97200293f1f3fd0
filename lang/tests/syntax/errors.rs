//! Every syntax error as an operator reads it: the source with its labels, and the message.

use std::fmt::Write as _;

use onvm_lang::{Diagnostic, parse};

/// The source's lines that carry a label, each with a line of marks below.
fn render(source: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = format!("{}\n", source.trim_end());
    for d in diagnostics {
        let severity = d.severity.word();
        let _ = write!(out, "\n{severity}[{}]: {}\n", d.code, d.message);
        for label in &d.labels {
            let start = label.span.start as usize;
            let end = label.span.end as usize;
            let line = source[..start].matches('\n').count() + 1;
            let from = source[..start].rfind('\n').map_or(0, |n| n + 1);
            let to = source[start..].find('\n').map_or(source.len(), |n| start + n);
            let mark = if label.primary { "^" } else { "-" };
            let width = source[start..end.min(to)].chars().count().max(1);
            let gap = " ".repeat(source[from..start].chars().count());
            let _ = writeln!(out, "{line:>3} | {}", source[from..to].replace('\t', " "));
            let _ = writeln!(out, "    | {gap}{} {}", mark.repeat(width), label.text);
        }
        if let Some(help) = &d.help {
            let _ = writeln!(out, "    help: {help}");
        }
    }
    out
}

macro_rules! errors {
    ($($name:ident: $source:expr;)*) => { $(
        #[test]
        fn $name() {
            let source: &str = $source;
            let parsed = parse(source);
            insta::assert_snapshot!(render(source, &parsed.diagnostics));
        }
    )* };
}

errors! {
    missing_port_kind: "port wan = { queues = 2 }";
    missing_equals: "port wan tap { name = \"lan0\" }\nlet a = 1";
    capital_name: "port Wan = tap\nsteer Wan { else -> drop }";
    hyphen_in_name: "nf my-fw = firewall";
    missing_comma: "port wan = pci { queues = 2 mtu = 1500 }";
    colon_for_equals: "port wan = pci { queues: 2 }";
    unclosed_brace: "port wan = pci { queues = 2\n\nchain a = b -> c\n";
    unclosed_brace_in_steer: "steer wan {\n    tcp -> a\n    else -> b\n\nport lan = tap\n";
    stray_brace: "let a = 1\n}\nlet b = 2\n";
    mismatched_brackets: "let a = [1, 2}\nlet b = 2\n";
    unclosed_string: "param uplink: string = \"0000:3b:00.0\nlet b = 2\n";
    unknown_escape: "let a = \"c:\\dir\"";
    unknown_unit: "nf a = b with { memory = 64 MB }\nnf c = d { every = 3 parsec }";
    glued_unit: "nf a = b with { memory = 64mb }";
    unit_after_a_word: "nf a = b { mode = fast ms }";
    bad_address: "let a = [10.0.0.256, 10.0.0.0/33, 198.51.100.7:99999, 1:2:3]";
    bad_number: "let a = [12x, 1.2.3, 99999999999999999999, 4..2, 1..]";
    misspelt_declaration: "let x = 1\nprot wan = tap\nlet y = 2";
    junk: "hello world\n";
    reserved_name: "port drop = tap\nclass tcp = udp";
    stray_doc: "let a = 1\n/// describes nothing\n";
    missing_arrow: "steer wan {\n    web inspect\n    else -> drop\n}";
    fat_arrow: "chain a = fw => lan";
    missing_target: "steer wan { tcp -> }";
    rule_without_filter: "steer wan { -> drop }";
    empty_chain: "chain a =";
    arm_without_output: "chain a = ids { -> drop } -> lan";
    bad_allow: "allow ids steer scrub\nallow ids to fly\nallow ids to steer a max_hops x";
    bad_assert: "assert wan: tcp passes\nassert wan: tcp\nassert wan tcp dropped";
    bad_test: "test \"a\" {\n    sned wan tcp\n}\ntest \"b\" { send wan tpc }\ntest \"c\" { expect }";
    bad_param: "param a = 3\nparam b: chain(x) = 1";
    bad_use: "use lib.chain";
    hash_comment: "# a comment\nlet a = 1\nport b = tap # here\n";
    semicolon: "let a = 1;\nlet b = 2;\n";
    no_break_space: "let a =\u{a0}1";
    letter_outside_ascii: "nf naïve = firewall";
    two_errors_and_a_right_one: "port a = \nport b = tap\nport = tap\nnf c = fw { x }\n";
    too_deep: &format!("let a = {}1{}\nlet b = 2", "[".repeat(65), "]".repeat(65));

    filter_dangling_and: "class a = tcp and";
    filter_two_terms: "class a = tcp udp";
    filter_unclosed: "class a = (tcp or udp\nclass b = tcp)";
    filter_port_too_large: "class a = port 70000";
    filter_service: "class a = port htpp";
    filter_bare_number: "class a = tcp or 80";
    filter_bare_mac: "class a = 02:00:00:00:00:01";
    filter_bare_name: "class a = $trusted";
    filter_host_name: "class a = host example and tcp";
    filter_host_bits: "class a = net 10.0.0.1/8";
    filter_host_prefix: "class a = host 10.0.0.0/8";
    filter_address_after_port: "class a = port 80 or 10.0.0.1";
    filter_qualifiers: "class a = tcp host 10.0.0.1\nclass b = src proto 6\nclass c = ether port 1";
    filter_unsupported: "class a = ip broadcast\nclass b = ip and broadcast";
    filter_capital: "class a = TCP and Web";
    filter_no_comparison: "class a = tcp[13] & 2";
    filter_load_size: "class a = ip[0:3] = 1";
    filter_byte_name: "class a = tcp[flags] = 1\nclass b = len-5 > 2\nclass c = foo[1] = 2";
    filter_range_of_ports: "class a = port 80-90\nclass b = port 80..90";
    filter_quotes: "class a = \"tcp\"";
    filter_unclosed_list: "class a = net [10.0.0.0/8, 192.168.0.0/16\nclass b = port []";
    filter_number_too_large: "class a = len > 4294967296";
    filter_vlan: "class a = vlan 5000\nclass b = dscp 64\nclass c = proto 256";
    filter_is_one_rule: "steer wan {\n    port 99999 -> a\n    tcp -> b\n    prot 6 -> c\n    else -> d\n}";
    filter_fat_arrow: "steer wan {\n    web => inspect\n    else -> drop\n}";
    filter_else_without_arrow: "steer wan {\n    tcp -> a\n    else fast\n}";
    filter_no_final_arrow: "steer wan {\n    else -> a\n    tcp fast\n}";
    bare_pci_address: "port wan = pci { address = 0000:3b:00.0 }";
    filter_values_only: "class a = port (80 or tcp)";
}
