//! The codes of syntax diagnostics. A code never changes its meaning.

/// Something else was expected.
pub(crate) const EXPECTED: &str = "C0001";
/// A name with a capital, a hyphen or a letter outside ASCII.
pub(crate) const NAME: &str = "C0002";
/// A bracket without its partner.
pub(crate) const BRACKET: &str = "C0003";
/// A string without its end, or with an unknown escape.
pub(crate) const STRING: &str = "C0004";
/// Nested beyond the limit.
pub(crate) const NESTING: &str = "C0005";
/// An unknown unit.
pub(crate) const UNIT: &str = "C0006";
/// A malformed number, address, prefix or range.
pub(crate) const LITERAL: &str = "C0007";
/// No declaration begins with that word.
pub(crate) const DECLARATION: &str = "C0008";
/// A word of the language as a name.
pub(crate) const RESERVED: &str = "C0009";
/// A doc comment without a declaration.
pub(crate) const STRAY_DOC: &str = "C0010";
/// A file beyond the size limit.
pub(crate) const TOO_LARGE: &str = "C0011";
/// A character that changes the direction of text.
pub(crate) const DIRECTION: &str = "C0012";
/// A file that formatting would change.
pub(crate) const CHANGED: &str = "C0013";
/// Something else was expected in a filter.
pub(crate) const FILTER: &str = "C0020";
/// A value that does not suit its primitive.
pub(crate) const FILTER_VALUE: &str = "C0021";
/// A value that no qualifier says how to read.
pub(crate) const QUALIFIER: &str = "C0022";
/// An unknown service, protocol or constant.
pub(crate) const FILTER_NAME: &str = "C0023";
/// A primitive of pcap-filter that the language leaves out.
pub(crate) const UNSUPPORTED: &str = "C0024";
/// An expression that libpcap groups in a surprising way.
pub(crate) const GROUPING: &str = "C0025";
/// A line of another firewall among rules.
pub(crate) const FOREIGN_RULE: &str = "C0026";

/// Every syntax code with its title, in order.
pub const CODES: [(&str, &str); 20] = [
    (EXPECTED, "unexpected text"),
    (NAME, "malformed name"),
    (BRACKET, "bracket without its partner"),
    (STRING, "malformed string"),
    (NESTING, "nested too deeply"),
    (UNIT, "unknown unit"),
    (LITERAL, "malformed number, address, prefix or range"),
    (DECLARATION, "unknown declaration"),
    (RESERVED, "reserved word as a name"),
    (STRAY_DOC, "doc comment without a declaration"),
    (TOO_LARGE, "file too large"),
    (DIRECTION, "text that is displayed differently from its meaning"),
    (CHANGED, "formatting would change the meaning"),
    (FILTER, "malformed filter"),
    (FILTER_VALUE, "value does not suit its primitive"),
    (QUALIFIER, "value without a qualifier"),
    (FILTER_NAME, "unknown service, protocol or constant"),
    (UNSUPPORTED, "primitive not supported"),
    (GROUPING, "surprising grouping"),
    (FOREIGN_RULE, "line of another firewall"),
];
