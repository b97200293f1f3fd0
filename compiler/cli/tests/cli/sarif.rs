//! SARIF as code hosts read it: the properties that GitHub's code scanning requires, and places that are right.
//!
//! <https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning>

use std::{fs, process::Command};

use serde_json::Value;

fn sarif(args: &[&str], files: &[(&str, &str)]) -> (Value, Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_onvmc"))
        .args(args)
        .args(["--error-format", "sarif"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "", "everything is in the log");
    let log = serde_json::from_slice(&output.stdout).unwrap();
    conforms(&log);
    (log, output.status.code())
}

/// The shape: types and required properties, references between them, and ranges.
fn conforms(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().contains("sarif-2.1.0"));
    let runs = log["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let driver = &runs[0]["tool"]["driver"];
    assert_eq!(driver["name"], "onvmc");
    assert_eq!(driver["semanticVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(runs[0]["columnKind"], "unicodeCodePoints");
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[text]["text"].as_str().unwrap().is_empty(), "{rule}");
        }
        assert!(rule["help"]["markdown"].as_str().unwrap().contains("```chain"));
        assert!(
            ["error", "warning", "note"].contains(&rule["defaultConfiguration"]["level"].as_str().unwrap())
        );
    }
    for result in runs[0]["results"].as_array().unwrap() {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let locations = result["locations"].as_array().unwrap();
        assert_eq!(locations.len(), 1, "GitHub shows the first alone");
        for location in locations
            .iter()
            .chain(result["relatedLocations"].as_array().unwrap())
        {
            let place = &location["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(
                !uri.is_empty() && !uri.contains(' ') && !uri.starts_with('/'),
                "{uri}"
            );
            let region = &place["region"];
            if region.is_null() {
                continue;
            }
            let at =
                |line: &str, column: &str| (region[line].as_u64().unwrap(), region[column].as_u64().unwrap());
            let (start, end) = (at("startLine", "startColumn"), at("endLine", "endColumn"));
            assert!((1, 1) <= start && start <= end, "{region}");
        }
        for fix in result["fixes"].as_array().into_iter().flatten() {
            assert!(fix["description"]["text"].is_string());
            let change = &fix["artifactChanges"][0];
            assert!(change["artifactLocation"]["uri"].is_string());
            let replacement = &change["replacements"][0];
            assert!(
                replacement["deletedRegion"]["startLine"].is_u64()
                    && replacement["insertedContent"]["text"].is_string()
            );
        }
        for related in result["relatedLocations"].as_array().unwrap() {
            assert!(related["message"]["text"].is_string());
        }
    }
}

#[test]
fn places_codes_and_levels() {
    let a = "let ä = 1\nport wan = null\nport wan = null\nsteer wan { else -> wan }\n";
    let (log, code) = sarif(
        &["check", "dir one/a.chain", "b.chain"],
        &[
            ("dir one/a.chain", a),
            ("b.chain", "port wan = null\nsteer wan { else -> /* ü */ }\n"),
        ],
    );
    assert_eq!(code, Some(1));
    let results = log["runs"][0]["results"].as_array().unwrap();
    let twice = results.iter().find(|r| r["ruleId"] == "C0102").unwrap();
    let place = &twice["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "dir%20one/a.chain");
    let wanted = serde_json::json!({ "startLine": 3, "startColumn": 6, "endLine": 3, "endColumn": 9 });
    assert_eq!(place["region"], wanted);
    assert_eq!(
        twice["relatedLocations"][0]["physicalLocation"]["region"]["startLine"],
        2
    );
    assert!(
        results
            .iter()
            .any(|r| r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "b.chain")
    );
}

#[test]
fn nothing_wrong_is_an_empty_log() {
    let (log, code) = sarif(
        &["check", "a.chain"],
        &[("a.chain", "port wan = null\nsteer wan { else -> wan }\n")],
    );
    assert_eq!(code, Some(0));
    assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], true);
}

#[test]
fn denied_warnings_are_errors() {
    let files = [(
        "a.chain",
        "let a = 1\nport wan = null\nsteer wan { else -> wan }\n",
    )];
    let (log, code) = sarif(&["check", "a.chain"], &files);
    assert_eq!(
        (code, &log["runs"][0]["results"][0]["level"]),
        (Some(0), &"warning".into())
    );
    let (log, code) = sarif(&["build", "a.chain", "-o", "a.bundle", "--deny-warnings"], &files);
    assert_eq!(
        (code, &log["runs"][0]["results"][0]["level"]),
        (Some(1), &"error".into())
    );
}

#[test]
fn what_stands_in_no_file_has_a_place_all_the_same() {
    let files = [(
        "a.chain",
        "param n: int = 1\nport wan = null { size = $n }\nsteer wan { else -> wan }\n",
    )];
    let (log, code) = sarif(&["check", "a.chain", "--set", "n=wan0", "--set", "m=1"], &files);
    assert_eq!(code, Some(1));
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{results:?}");
    for result in results {
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a.chain", "{result}");
    }
    let (log, code) = sarif(&["check", "none.chain"], &[]);
    assert_eq!(code, Some(1));
    let invocation = &log["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let said = invocation["toolExecutionNotifications"][0]["message"]["text"]
        .as_str()
        .unwrap();
    assert!(said.contains("none.chain"), "{said}");
}

#[test]
fn fixes_say_what_to_replace() {
    let files = [(
        "a.chain",
        "port wan = null\nnf fw = firewal\nnf m = monitor { every = 1 }\nsteer wan { tcp -> fw -> m -> wan }\n",
    )];
    let (log, _) = sarif(&["check", "a.chain"], &files);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let fixes = |code: &str| results.iter().find(|r| r["ruleId"] == code).unwrap()["fixes"].clone();
    let region = |from: u64, to: u64| serde_json::json!({ "startLine": 2, "startColumn": from, "endLine": 2, "endColumn": to });
    let change = serde_json::json!({
        "artifactLocation": { "uri": "a.chain" },
        "replacements": [{ "deletedRegion": region(9, 16), "insertedContent": { "text": "firewall" } }],
    });
    let wanted =
        serde_json::json!([{ "description": { "text": "write `firewall`" }, "artifactChanges": [change] }]);
    assert_eq!(fixes("C0107"), wanted);
    assert_eq!(
        fixes("C0202").as_array().unwrap().len(),
        3,
        "one for each unit that fits"
    );
    assert_eq!(
        fixes("C0501")[0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"],
        " else -> drop"
    );
}
