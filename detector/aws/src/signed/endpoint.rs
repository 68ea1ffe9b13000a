//! The endpoint of a service: overridden by `--endpoint-url`, `AWS_ENDPOINT_URL_<SERVICE>`,
//! `AWS_ENDPOINT_URL` or the profile, otherwise by region and partition. Source: AWS General
//! Reference, "Service endpoints" and "FIPS endpoints by service"; checked 2026-11.

use aws_types::{SdkConfig, service_config::ServiceConfigKey};

use super::service::AwsService;

/// Domains of a partition, by the prefix of its regions: for usual and for dual-stack endpoints.
const PARTITIONS: [(&str, &str, &str); 7] = [
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("us-isob-", "sc2s.sgov.gov", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("", "amazonaws.com", "api.aws"),
];

/// Services whose endpoints in AWS GovCloud (US) are FIPS endpoints under their usual names.
const FIPS_IN_GOVCLOUD: [&str; 7] = [
    "cloudformation",
    "dynamodb",
    "events",
    "monitoring",
    "sns",
    "sqs",
    "sts",
];

/// URL of a service in a region, without a slash at its end.
pub(super) fn url(config: &SdkConfig, service: &AwsService, region: &str) -> String {
    let url = overridden(config, service).unwrap_or_else(|| {
        let fips = config.use_fips().unwrap_or_default();
        let dual_stack = config.use_dual_stack().unwrap_or_default();
        format!("https://{}", host(service, region, fips, dual_stack))
    });
    url.trim_end_matches('/').to_owned()
}

fn overridden(config: &SdkConfig, service: &AwsService) -> Option<String> {
    // What was typed counts more than what is configured for the service.
    let general = config.endpoint_url().map(str::to_owned);
    if config.get_origin("endpoint_url").is_client_config() {
        return general;
    }
    let key = ServiceConfigKey::builder()
        .service_id(service.id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let own = config.service_config().zip(key.ok());
    let own = own.and_then(|(services, key)| services.load_config(key));
    own.or(general)
}

fn host(service: &AwsService, region: &str, fips: bool, dual_stack: bool) -> String {
    let known = PARTITIONS
        .iter()
        .find(|(prefix, ..)| region.starts_with(prefix));
    let (usual, dual) = known.map_or(("amazonaws.com", "api.aws"), |(_, usual, dual)| {
        (*usual, *dual)
    });
    let domain = if dual_stack { dual } else { usual };
    let is_same =
        region.starts_with("us-gov-") && !dual_stack && FIPS_IN_GOVCLOUD.contains(&service.host);
    let suffix = if fips && !is_same { "-fips" } else { "" };
    format!("{}{suffix}.{region}.{domain}", service.host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::service::Protocol;

    const fn service(name: &'static str) -> AwsService {
        AwsService::new("Any", name, Protocol::RestJson)
    }

    #[test]
    fn every_partition_has_its_domain() {
        for (region, expected) in [
            ("eu-west-1", "kms.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", "kms.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "kms.cn-north-1.amazonaws.com.cn"),
            ("us-iso-east-1", "kms.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "kms.us-isob-east-1.sc2s.sgov.gov"),
            ("us-isof-south-1", "kms.us-isof-south-1.csp.hci.ic.gov"),
            ("eu-isoe-west-1", "kms.eu-isoe-west-1.cloud.adc-e.uk"),
            ("eusc-de-east-1", "kms.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(host(&service("kms"), region, false, false), expected);
        }
    }

    #[test]
    fn fips_and_dual_stack_have_names_of_their_own() {
        let of = |name, region, fips, dual| host(&service(name), region, fips, dual);
        assert_eq!(
            of("lambda", "us-east-1", true, false),
            "lambda-fips.us-east-1.amazonaws.com"
        );
        assert_eq!(of("sqs", "eu-west-1", false, true), "sqs.eu-west-1.api.aws");
        assert_eq!(
            of("monitoring", "us-gov-east-1", true, false),
            "monitoring.us-gov-east-1.amazonaws.com"
        );
        assert_eq!(
            of("cloudformation", "cn-north-1", false, true),
            "cloudformation.cn-north-1.api.amazonwebservices.com.cn"
        );
    }
}
