//! Observation parts of a long history, to measure what a replay of them costs. Not a test: `cargo
//! run --release -p e2e --bin history -- FOLDER ACCESSES`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool of ours, run by hand"
)]

use std::path::Path;

use secretrail_engine::{
    coverage::CoverageMark,
    extract_file::{self, ExtractHeader, ExtractedObject},
    object::RecordOrigin,
    parallel,
    report::ObjectStatus,
    rule::load::load,
    scan::{KeptRecord, ScanResult},
    selection::Selection,
    time::EventTime,
};

/// The first second of the history, and its length.
const START: i64 = 1_772_445_600;
const SPAN: i64 = 365 * 86_400;

/// Accesses of a part, and of an object.
const PART: i64 = 65_536;
const OBJECT: i64 = 64;

/// A read and its key use, by one of three hundred roles of one of its ten secrets, in three
/// accounts.
fn access(number: i64, of: i64) -> [(EventTime, String); 2] {
    let time = EventTime(START + number * SPAN / of);
    let mixed = number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed())
        .unsigned_abs()
        >> 20;
    let (who, what) = (mixed % 300, mixed / 300 % 10);
    let account = 111_122_223_333 + who % 3;
    let name = format!("prod/app-{who}/{what}");
    let identity = |by: &str| {
        format!(
            r#"{{"type":"AssumedRole","principalId":"AROA{who:016}:run","arn":"arn:aws:sts::{account}:assumed-role/app-{who}/run","accountId":"{account}","accessKeyId":"ASIA{mixed:016x}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROA{who:016}","arn":"arn:aws:iam::{account}:role/app-{who}","accountId":"{account}","userName":"app-{who}"}},"attributes":{{"creationDate":"{time}","mfaAuthenticated":"false"}}}}{by}}}"#
        )
    };
    let event = |service: &str, call: &str, by: &str, source: &str, more: &str, id: char| {
        format!(
            r#"{{"eventVersion":"1.11","userIdentity":{},"eventTime":"{time}","eventSource":"{service}.amazonaws.com","eventName":"{call}","awsRegion":"eu-west-1","sourceIPAddress":"{source}","userAgent":"aws-sdk-go-v2/1.30 app/{who}",{more},"requestID":"{mixed:032x}","eventID":"{id}{number:035x}","readOnly":true,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{account}","eventCategory":"Management"}}"#,
            identity(by)
        )
    };
    let arn = format!("arn:aws:secretsmanager:eu-west-1:{account}:secret:{name}-AbCdEf");
    let key = format!("arn:aws:kms:eu-west-1:{account}:key/00000000-0000-4000-8000-{who:012}");
    let asked = format!(r#""requestParameters":{{"secretId":"{name}"}},"responseElements":null"#);
    let used = format!(
        r#""requestParameters":{{"encryptionContext":{{"SecretARN":"{arn}","SecretVersionId":"v1"}},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}},"responseElements":null,"resources":[{{"accountId":"{account}","type":"AWS::KMS::Key","ARN":"{key}"}}]"#
    );
    let by = r#","invokedBy":"secretsmanager.amazonaws.com""#;
    [
        (
            time,
            event(
                "secretsmanager",
                "GetSecretValue",
                "",
                "10.1.2.3",
                &asked,
                'a',
            ),
        ),
        (
            time,
            event(
                "kms",
                "Decrypt",
                by,
                "secretsmanager.amazonaws.com",
                &used,
                'b',
            ),
        ),
    ]
}

fn object(first: i64, of: i64) -> ExtractedObject {
    let accesses = (first..of.min(first + OBJECT)).flat_map(|number| access(number, of));
    let records: Vec<(EventTime, String)> = accesses.collect();
    let mut scan_result = ScanResult::default();
    scan_result.report.bytes = records.iter().map(|(_, text)| text.len() as u64).sum();
    scan_result.report.records = records.len() as u64;
    for (time, _) in &records {
        let marks = (0..3).map(|n| {
            let account = (111_122_223_333_u64 + n).to_string();
            CoverageMark::at(account.as_str().into(), "eu-west-1".into(), *time)
        });
        scan_result.coverage.extend(marks);
    }
    let origin = RecordOrigin {
        object: format!("s3://trail/AWSLogs/{first}.json.gz")
            .as_str()
            .into(),
        delivered: records.last().map(|(time, _)| time.plus(300)),
    };
    let kept = records
        .into_iter()
        .map(|(time, text)| KeptRecord::new(time, text));
    scan_result.kept = kept.collect();
    let tag = first.to_string();
    ExtractedObject::of(&origin, tag, false, &ObjectStatus::Read, &mut scan_result)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, accesses] = args.as_slice() else {
        panic!("history FOLDER ACCESSES")
    };
    let (folder, accesses) = (Path::new(folder), accesses.parse::<i64>().unwrap());
    std::fs::create_dir_all(folder).unwrap();
    let pack = secretrail_pack::rules();
    let (rules, _) = load(
        pack.iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    )
    .unwrap();
    let header = ExtractHeader::new(&rules, &Selection::default());
    let parts: Vec<i64> = (0..accesses.div_euclid(PART) + 1)
        .map(|part| part * PART)
        .collect();
    parallel::map(2, &parts, |first| {
        let objects = (*first..accesses.min(first + PART))
            .step_by(64)
            .map(|first| object(first, accesses))
            .collect();
        std::fs::write(
            folder.join(format!("part-{first:010}{}", extract_file::ENDING)),
            extract_file::write(&header, objects),
        )
        .unwrap();
    });
    println!("{} parts", parts.len());
}
