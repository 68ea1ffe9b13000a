//! A deployment of Secretrail in AWS: the resources of its stack, or what Terraform says of them;
//! its state table, and the bucket of the trail.

pub mod bucket;
pub mod rules;
pub mod settings;
pub mod table;
mod terraform;

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    args::{deployment::StackArgs, input::AwsArgs},
    aws_api::{ApiError, AwsApi, CLOUDFORMATION, xml::XmlElement},
};

/// Logical ids of the resources of `infra/template.yaml`.
pub mod logical {
    /// The state table.
    pub const TABLE: &str = "Table";
    /// The queue of new files; there is none with a queue of one's own.
    pub const FILES: &str = "Files";
    /// The queue of messages that failed again and again.
    pub const DEAD_LETTERS: &str = "DeadLetters";
    /// The EventBridge rule about new files; only with the trigger EventBridge.
    pub const NEW_FILES: &str = "NewFiles";
    /// The subscription of the queue; only with the trigger SNS.
    pub const NOTIFICATIONS: &str = "Notifications";
    /// The topic of alarms.
    pub const ALARMS: &str = "Alarms";
    /// The role of the function.
    pub const ROLE: &str = "Role";
    /// The function.
    pub const DETECTOR: &str = "Detector";
    /// The mapping from the queue to the function.
    pub const FROM_QUEUE: &str = "FromQueue";
    /// The EventBridge rule that starts the sweep.
    pub const EVERY_MINUTE: &str = "EveryMinute";

    /// What every deployment of ours has.
    pub(super) const NEEDED: [&str; 2] = [DETECTOR, TABLE];
}

/// The type of alarms.
pub const ALARM: &str = "AWS::CloudWatch::Alarm";

/// Most stacks that a message suggests.
const SUGGESTED: usize = 10;

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackResource {
    /// Type, as in `AWS::SQS::Queue`.
    pub kind: String,
    /// Name, URL or ARN, depending on the type; empty before it exists.
    pub physical: String,
    /// Status, as in `CREATE_COMPLETE`.
    pub status: String,
}

/// A stack of `infra/template.yaml`, or the same by `infra/terraform`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Name of the stack; by Terraform, the variable `name`.
    pub name: String,
    /// Region of the stack.
    pub region: String,
    /// Account of the stack.
    pub account: String,
    /// Partition, as in `aws-cn`.
    pub partition: String,
    /// Status, as in `UPDATE_COMPLETE`; empty for Terraform, which has none.
    pub status: String,
    /// Why it has this status; empty if CloudFormation does not say.
    pub reason: String,
    /// When it was updated or, if it never was, created, as CloudFormation writes it.
    pub changed: String,
    /// When it was created, as CloudFormation writes it.
    pub created: String,
    /// Parameters by their names.
    pub parameters: BTreeMap<String, String>,
    /// Outputs by their names.
    pub outputs: BTreeMap<String, String>,
    /// Resources by their logical ids.
    pub resources: BTreeMap<String, StackResource>,
}

/// Why there is no deployment to look at.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// A call failed.
    #[error("stack `{stack}`: {error}")]
    Call {
        /// Name of the stack.
        stack: String,
        /// The error of the call.
        error: Box<ApiError>,
    },
    /// There is no such stack.
    #[error("there is no stack `{stack}` in {region}; use --stack and --aws-region{known}")]
    Missing {
        /// Name of the stack.
        stack: String,
        /// Region that was asked.
        region: String,
        /// The stacks of Secretrail that are there, as the end of the message.
        known: String,
    },
    /// The file of Terraform's outputs cannot be used.
    #[error("--terraform {}: {why}", file.display())]
    Outputs {
        /// Its path.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The deployment is in another region than the one that is asked.
    #[error("{name} is in {region}, and {asked} is asked; use --aws-region {region}")]
    Elsewhere {
        /// Name of the deployment.
        name: String,
        /// Its region.
        region: String,
        /// The region of the calls.
        asked: String,
    },
    /// The stack is another one.
    #[error(
        "stack `{0}` is no stack of infra/template.yaml: it has no resources Detector and Table; \
         use --stack"
    )]
    Foreign(String),
}

/// How to reach the services of a deployment: in the region that Terraform names, unless the
/// arguments name one.
#[must_use]
pub fn aws_of(args: &StackArgs) -> AwsArgs {
    let described = args.terraform.as_deref();
    let region = args.aws_region.clone();
    AwsArgs {
        profile: args.profile.clone(),
        aws_region: region.or_else(|| described.and_then(terraform::region)),
        endpoint_url: args.endpoint_url.clone(),
        requester_pays: false,
    }
}

impl DeploymentError {
    fn call(stack: &str, error: ApiError) -> Self {
        Self::Call {
            stack: stack.to_owned(),
            error: Box::new(error),
        }
    }
}

impl Deployment {
    /// The deployment that the arguments name: a stack, or what Terraform wrote.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`]: it is not there, may not be looked at, or is another one.
    pub fn named(api: &AwsApi, args: &StackArgs) -> Result<Self, DeploymentError> {
        let Some(file) = &args.terraform else {
            return Self::find(api, &args.stack);
        };
        let found = terraform::read(file).map_err(|why| DeploymentError::Outputs {
            file: file.clone(),
            why,
        })?;
        if found.region != api.region() {
            return Err(DeploymentError::Elsewhere {
                name: found.name,
                region: found.region,
                asked: api.region().to_owned(),
            });
        }
        Ok(found)
    }

    /// Looks up a stack and its resources.
    ///
    /// # Errors
    ///
    /// [`DeploymentError`]: it is not there, may not be looked at, or is another one.
    fn find(api: &AwsApi, stack: &str) -> Result<Self, DeploymentError> {
        let input = [("StackName", stack)];
        let described = match api.query(&CLOUDFORMATION, "DescribeStacks", &input) {
            Ok(described) => described,
            Err(error) if is_missing(&error) => return Err(missing(api, stack)),
            Err(error) => return Err(DeploymentError::call(stack, error)),
        };
        let Some(found) = described.members("Stacks").first() else {
            return Err(missing(api, stack));
        };
        let pages = api.query_pages(&CLOUDFORMATION, "ListStackResources", &input);
        let resources = pages.map_err(|error| DeploymentError::call(stack, error))?;
        let resources = resources
            .iter()
            .flat_map(|page| page.members("StackResourceSummaries"))
            .filter_map(resource)
            .collect();
        let deployment = Self::of(stack, api.region(), found, resources);
        match logical::NEEDED
            .iter()
            .all(|id| deployment.resources.contains_key(*id))
        {
            true => Ok(deployment),
            false => Err(DeploymentError::Foreign(stack.to_owned())),
        }
    }

    fn of(
        stack: &str,
        region: &str,
        found: &XmlElement,
        resources: BTreeMap<String, StackResource>,
    ) -> Self {
        let created = found.text_or_empty("CreationTime");
        // arn:aws:cloudformation:eu-west-1:111122223333:stack/secretrail/…
        let id = found.text_or_empty("StackId");
        let mut parts = id.split(':');
        let partition = parts.nth(1).unwrap_or("aws").to_owned();
        let account = parts.nth(2).unwrap_or_default().to_owned();
        Self {
            name: found.text("StackName").unwrap_or(stack).to_owned(),
            region: region.to_owned(),
            account,
            partition,
            status: found.text_or_empty("StackStatus"),
            reason: found.text_or_empty("StackStatusReason"),
            changed: found.text("LastUpdatedTime").unwrap_or(&created).to_owned(),
            created,
            parameters: pairs(found, "Parameters", "ParameterKey", "ParameterValue"),
            outputs: pairs(found, "Outputs", "OutputKey", "OutputValue"),
            resources,
        }
    }

    /// The physical id of a resource; `None` if the stack does not have it.
    #[must_use]
    pub fn physical(&self, logical: &str) -> Option<&str> {
        let found = self.resources.get(logical)?;
        Some(found.physical.as_str()).filter(|id| !id.is_empty())
    }

    /// A parameter; empty if it has no value.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// The ARN of a resource in the region and account of the stack.
    #[must_use]
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let Self {
            partition,
            region,
            account,
            ..
        } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// CloudFormation has one code for everything that is not valid.
fn is_missing(error: &ApiError) -> bool {
    error.code() == "ValidationError" && error.to_string().contains("does not exist")
}

fn missing(api: &AwsApi, stack: &str) -> DeploymentError {
    DeploymentError::Missing {
        stack: stack.to_owned(),
        region: api.region().to_owned(),
        known: match known(api) {
            Some(known) if !known.is_empty() => format!("; there is: {}", known.join(", ")),
            _ => String::new(),
        },
    }
}

/// The stacks that look like ours; `None` if they may not be listed.
fn known(api: &AwsApi) -> Option<Vec<String>> {
    let pages = api.query_pages(&CLOUDFORMATION, "DescribeStacks", &[]);
    let pages = pages.ok()?;
    let stacks = pages.iter().flat_map(|page| page.members("Stacks"));
    let ours = stacks.filter(|stack| {
        let outputs = pairs(stack, "Outputs", "OutputKey", "OutputValue");
        ["StateTable", "AlertTopic"]
            .iter()
            .all(|name| outputs.contains_key(*name))
    });
    let names = ours.filter_map(|stack| stack.text("StackName").map(str::to_owned));
    Some(names.take(SUGGESTED).collect())
}

fn pairs(element: &XmlElement, list: &str, key: &str, value: &str) -> BTreeMap<String, String> {
    let members = element.members(list).iter();
    let pairs = members.filter_map(|member| {
        let value = member.text(value).unwrap_or_default();
        Some((member.text(key)?.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

fn resource(summary: &XmlElement) -> Option<(String, StackResource)> {
    let resource = StackResource {
        kind: summary.text_or_empty("ResourceType"),
        physical: summary.text_or_empty("PhysicalResourceId"),
        status: summary.text_or_empty("ResourceStatus"),
    };
    // What a failed or removed condition left behind is not there any more.
    let is_there = resource.status != "DELETE_COMPLETE";
    is_there.then_some((summary.text_or_empty("LogicalResourceId"), resource))
}
