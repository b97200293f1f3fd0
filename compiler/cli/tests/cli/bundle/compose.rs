//! The Compose file.

use super::*;

#[test]
fn compose_is_hardened_and_valid() {
    let (_, artifact) = build(FULL, &Inputs::default());
    let text = String::from_utf8(artifact.files["compose.yaml"].clone()).unwrap();
    let yaml: serde_norway::Value = serde_norway::from_str(&text).unwrap();
    let services = yaml["services"].as_mapping().unwrap();
    let names: Vec<&str> = services.keys().map(|k| k.as_str().unwrap()).collect();
    assert_eq!(names, ["fw-0", "ids-0", "ids-1", "ids-2", "guard-0", "mon-0"]);
    for (name, service) in services {
        let name = name.as_str().unwrap();
        // What is above the least of a range is not started with the others.
        assert_eq!(service.get("profiles").is_some(), name == "ids-2", "{name}");
        assert_eq!(service["network_mode"].as_str(), Some("none"));
        assert_eq!(service["cap_drop"][0].as_str(), Some("ALL"));
        let options = service["security_opt"].as_sequence().unwrap();
        assert_eq!(options, &["no-new-privileges:true", "seccomp:seccomp.json"]);
        assert_eq!(service["pull_policy"].as_str(), Some("never"));
        assert_eq!(service["read_only"].as_bool(), Some(true));
        assert_eq!(service["restart"].as_str(), Some("no"));
        let user = onvm_bundle::compose_variable("USER", name);
        assert_eq!(
            service["user"].as_str(),
            Some(format!("${{{user}:-65534:65534}}").as_str())
        );
        assert!(service["mem_limit"].as_u64().unwrap() >= 1 << 20);
        assert!(service["pids_limit"].as_u64().unwrap() > 0);
        assert!(service["cpuset"].as_str().unwrap().starts_with("${ONVM_CPUSET_"));
        let volumes = service["volumes"].as_sequence().unwrap();
        assert_eq!(volumes.len(), 1, "its own socket directory and nothing else");
        assert!(
            volumes[0]
                .as_str()
                .unwrap()
                .ends_with(&format!("/edge/nf/{name}:/run/onvm:ro")),
            "{volumes:?}"
        );
        for forbidden in ["privileged", "pid", "ipc", "cap_add", "devices", "ports"] {
            assert!(service.get(forbidden).is_none(), "{forbidden}");
        }
    }
    let guard = &services["guard-0"];
    assert_eq!(guard["image"].as_str(), Some("acme/waf:2"));
    assert_eq!(
        guard["command"][1].as_str(),
        Some("it's $$HOME"),
        "Compose must not expand it"
    );
    assert!(
        !text.contains("WAF_KEY"),
        "secrets go over the socket: an engine would show them to everybody who may ask it"
    );
    let profile = &artifact.files["seccomp.json"];
    serde_json::from_slice::<serde_json::Value>(profile).unwrap();
}

#[test]
fn a_program_without_nfs_has_valid_compose() {
    let (_, artifact) = build(
        "port wan = null {}\nsteer wan { else -> wan }\n",
        &Inputs::default(),
    );
    let text = String::from_utf8(artifact.files["compose.yaml"].clone()).unwrap();
    let yaml: serde_norway::Value = serde_norway::from_str(&text).unwrap();
    assert!(yaml["services"].as_mapping().unwrap().is_empty(), "{text}");
}
