//! Rules and lists of networks in S3: read again when they change, refused when they are bad.

use super::*;

#[test]
fn rules_in_s3_are_read_again_when_they_change_and_refused_when_they_are_bad() {
    let shop = Shop::open();
    let rule = |title: &str, level: &str| {
        format!(
            "title: {title}\nid: own-1\nlevel: {level}\nlogsource: {{product: aws, category: secret_access}}\n\
             detection:\n  direct:\n    access.method: direct_decrypt\n  condition: direct\n"
        )
    };
    let place = format!("s3://{}/rules/", shop.deployment.bucket);
    let settings = [("SECRETRAIL_RULES", place.as_str())];
    let message = shop.put(KEY, &theft("e1"));

    let empty = shop.start(&settings);
    let Ended::Error(error) = empty.invoke(&batch(vec![message.clone()]), ENOUGH) else {
        panic!("there are no rules")
    };
    assert!(
        error.to_string().contains("holds no rules")
            && error.to_string().contains("no stored rules"),
        "{error}"
    );

    shop.deployment
        .put("rules/own.yml", rule("Mine", "low").as_bytes());
    let function = shop.start(&settings);
    assert_eq!(
        back(&answered(&function, &batch(vec![message.clone()]))),
        Vec::<&str>::new()
    );
    let reported = shop.deployment.published();
    assert_eq!(
        reported.values().next().unwrap()[0]["rule"]["title"],
        "Mine"
    );

    // Another process finds bad rules, and takes those that the table keeps.
    shop.deployment
        .put("rules/own.yml", rule("Mine", "loud").as_bytes());
    let other = shop.start(&settings);
    assert_eq!(
        back(&answered(
            &other,
            &batch(vec![shop.put("second.json.gz", &theft("e2"))])
        )),
        Vec::<&str>::new()
    );
    let log = other.log();
    assert!(
        has(
            &log,
            "rules rejected, the last valid ones are loaded from the table",
            "loud"
        ),
        "{log:?}"
    );
    assert_eq!(metric(&log, "RulesRejected"), 1.0);
    assert_eq!(shop.deployment.published().len(), 1);
}

#[test]
fn lists_of_networks_in_s3_give_sources_their_class_and_change_with_their_files() {
    let shop = Shop::open();
    let rule = "title: Mine\nid: own-1\nlevel: low\nlogsource: {product: aws, category: secret_access}\n\
        detection:\n  listed: {source.lists: vpn}\n  hidden: {source.class: anonymizer}\n  condition: 1 of them\n";
    let bucket = &shop.deployment.bucket;
    shop.deployment.put("rules/own.yml", rule.as_bytes());
    let rules = format!("s3://{bucket}/rules/");
    let places = format!("s3://{bucket}/networks/ vpn=s3://{bucket}/vpn=1.txt");
    let settings = [
        ("SECRETRAIL_RULES", rules.as_str()),
        ("SECRETRAIL_NETWORKS", places.as_str()),
    ];
    let refused = |count: usize| {
        let message = shop.put(KEY, &theft("e0"));
        match shop
            .start(&settings[..count])
            .invoke(&batch(vec![message]), ENOUGH)
        {
            Ended::Error(error) => error.to_string(),
            _ => panic!("no list has the label"),
        }
    };
    // A rule without its list would never fire; a place without a list is a mistyped one.
    let error = refused(1);
    assert!(
        error.contains("add its file to SECRETRAIL_NETWORKS"),
        "{error}"
    );
    let error = refused(2);
    assert!(error.contains("holds no lists of networks"), "{error}");
    shop.deployment
        .put("networks/anonymizer.txt", b"192.0.2.0/24\n");
    let error = refused(2);
    assert!(error.contains("vpn=1.txt does not exist"), "{error}");

    shop.deployment
        .put("vpn=1.txt", b"# none of ours\n203.0.113.0/24\n");
    let function = shop.start(&settings);
    let quiet = batch(vec![shop.put(KEY, &theft("e1"))]);
    assert_eq!(back(&answered(&function, &quiet)), Vec::<&str>::new());
    assert_eq!(shop.deployment.published().len(), 0);

    // Another process has the new list, as this one does within a minute.
    shop.deployment
        .put("networks/anonymizer.txt", b"198.51.100.7\n");
    let other = shop.start(&settings);
    let hidden = batch(vec![shop.put("second.json.gz", &theft("e2"))]);
    assert_eq!(back(&answered(&other, &hidden)), Vec::<&str>::new());
    assert_eq!(shop.deployment.published().len(), 1);
}
