//! Looking at a policy without using it.

use berth_api::{Finding, PluginCheck};
use berth_policy_host::{CheckSettings, PolicyHost};

/// What a check of a component finds. Blocks for the time of its compilation and some sample calls.
pub fn check(host: &PolicyHost, component: &[u8]) -> PluginCheck {
    let report = host.check("candidate", component, &CheckSettings::default());
    let mut findings = Vec::new();
    if let Some(info) = &report.info {
        findings.push(Finding { ok: true, text: format!("{} {}: {}", info.name, info.version, info.about) });
    }
    if !report.capabilities.is_empty() {
        let names: Vec<&str> = report.capabilities.iter().map(|capability| capability.as_str()).collect();
        findings.push(Finding { ok: true, text: format!("needs these grants: {}", names.join(", ")) });
    }
    findings.extend(report.findings.iter().map(|found| Finding { ok: found.ok, text: found.words.clone() }));
    PluginCheck {
        ok: report.passed(),
        kind: report.kind.map_or_else(|| "none".to_owned(), |kind| kind.as_str().to_owned()),
        findings,
    }
}
