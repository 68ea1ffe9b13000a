//! A deployment as `infra/terraform` describes it in its output `deployment`.

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use secretrail_engine::sanitize::without_byte_order_mark;
use serde::Deserialize;
use serde_json::Value;

use super::{ALARM, Deployment, StackResource, logical};

/// Most bytes of a file of outputs.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The output `deployment`. Parameters and resources have the names of `infra/template.yaml`.
#[derive(Deserialize)]
struct DeploymentOutput {
    name: String,
    region: String,
    account: String,
    partition: String,
    version: String,
    alert_topic: String,
    parameters: BTreeMap<String, Option<String>>,
    /// Physical ids; `null` for what is not made.
    resources: BTreeMap<String, Option<String>>,
    /// Names of alarms.
    alarms: BTreeMap<String, Option<String>>,
}

/// Reads what `terraform output -json` wrote, of all outputs or of `deployment` alone.
///
/// # Errors
///
/// Why it cannot be used.
pub(super) fn read(path: &Path) -> Result<Deployment, String> {
    let text = text(path).map_err(|error| error.to_string())?;
    let all: Value = serde_json::from_str(without_byte_order_mark(&text)).map_err(|error| {
        format!("it is not JSON ({error}); write it anew: terraform output -json, as UTF-8")
    })?;
    // Of one output, its value alone is written.
    let is_value = all.get("resources").is_some();
    let whole = all.get("deployment").and_then(|output| output.get("value"));
    let value = whole.or(Some(&all).filter(|_| is_value)).ok_or_else(|| {
        "it has no output `deployment`; apply the current infra/terraform, and write it anew: \
         terraform output -json"
            .to_owned()
    })?;
    let output = DeploymentOutput::deserialize(value).map_err(|error| {
        format!("its output `deployment` is of another version ({error}); apply the current one")
    })?;
    let found = deployment(output);
    match logical::NEEDED
        .iter()
        .find(|id| found.physical(id).is_none())
    {
        Some(missing) => Err(format!(
            "its output `deployment` has no {missing}; apply it again"
        )),
        None => Ok(found),
    }
}

/// The region that a file names; `None` where it cannot be read, which is reported later.
pub(super) fn region(path: &Path) -> Option<String> {
    // Standard input is read once only.
    let is_file = path != Path::new("-");
    is_file.then(|| read(path).ok().map(|found| found.region))?
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(LARGEST).read_to_string(&mut text)?;
    } else {
        let file = fs::File::open(path)?;
        file.take(LARGEST).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn deployment(output: DeploymentOutput) -> Deployment {
    let resources = output.resources.into_iter().map(|entry| (entry, ""));
    let alarms = output.alarms.into_iter().map(|entry| (entry, ALARM));
    let resources = resources
        .chain(alarms)
        .filter_map(|((id, physical), kind)| {
            let resource = StackResource {
                kind: kind.to_owned(),
                physical: physical?,
                status: String::new(),
            };
            Some((id, resource))
        });
    let parameters = output.parameters.into_iter();
    let parameters = parameters.filter_map(|(name, value)| Some((name, value?)));
    let outputs = [
        ("TemplateVersion", output.version),
        ("AlertTopic", output.alert_topic),
    ];
    let outputs = outputs.into_iter();
    Deployment {
        name: output.name,
        region: output.region,
        account: output.account,
        partition: output.partition,
        parameters: parameters.collect(),
        outputs: outputs
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        resources: resources.collect(),
        ..Deployment::default()
    }
}
