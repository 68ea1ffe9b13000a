//! The stack: its state, its template's version, and resources that failed.

use super::Checkup;
use crate::deployment::Deployment;

const PART: &str = "stack";

/// The output of the template that names the version it belongs to.
const VERSION: &str = "TemplateVersion";

pub(super) fn check(checkup: &mut Checkup<'_>) {
    state(checkup);
    version(checkup);
    let failed = checkup.stack.resources.iter();
    let failed = failed.filter(|(_, resource)| resource.status.ends_with("_FAILED"));
    let failed: Vec<String> = failed
        .map(|(id, resource)| format!("resource {id} is {}", resource.status))
        .collect();
    for what in failed {
        checkup
            .findings
            .fail(PART, what, "read the events of the stack, and deploy again");
    }
}

fn state(checkup: &mut Checkup<'_>) {
    let Deployment {
        name,
        region,
        account,
        status,
        reason,
        changed,
        ..
    } = checkup.stack;
    let reason = match reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    if status.is_empty() {
        let what = format!("{name} in {account} {region}, as Terraform describes it");
        return checkup.findings.ok(PART, what);
    }
    let what = format!("{name} in {account} {region} is {status} since {changed}{reason}");
    let findings = &mut checkup.findings;
    match status.as_str() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE" => findings.ok(PART, what),
        "UPDATE_ROLLBACK_COMPLETE" | "IMPORT_ROLLBACK_COMPLETE" => findings.warn(
            PART,
            what,
            "the last update failed and the version before it runs: read the events of the stack",
        ),
        // A failed rollback ends in this too, and needs a person.
        status if status.ends_with("_IN_PROGRESS") => {
            findings.warn(
                PART,
                what,
                "wait for the end of the deployment, and run this again",
            );
        }
        _ => findings.fail(
            PART,
            what,
            "read the events of the stack (aws cloudformation describe-stack-events), mend the \
             first failure, and deploy again",
        ),
    }
}

fn version(checkup: &mut Checkup<'_>) {
    let own = env!("CARGO_PKG_VERSION");
    let deployed = checkup.stack.outputs.get(VERSION).map(String::as_str);
    let findings = &mut checkup.findings;
    let remedy = "use the command and the template of one version; infra/README.md says how to \
                  upgrade";
    match deployed {
        Some(version) if version == own => findings.ok(PART, format!("template version {version}")),
        Some(version) => findings.warn(
            PART,
            format!("template version {version}, and this command is {own}"),
            remedy,
        ),
        None => findings.warn(
            PART,
            format!("the template is older than its version output; this command is {own}"),
            remedy,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../../../infra/template.yaml");

    #[test]
    fn the_template_has_the_version_of_the_command() {
        let (_, output) = TEMPLATE.split_once(&format!("  {VERSION}:\n")).unwrap();
        let mut lines = output.lines();
        let value = lines.find_map(|line| line.trim().strip_prefix("Value: "));
        assert_eq!(value, Some(concat!("\"", env!("CARGO_PKG_VERSION"), "\"")));
        let outputs = include_str!("../../../../../infra/terraform/outputs.tf");
        let own = concat!("version     = \"", env!("CARGO_PKG_VERSION"), "\"");
        assert!(outputs.contains(own), "{own}");
    }
}
