//! The same faults when events come directly, ahead of their files.

use super::*;

/// The records of the world as events of EventBridge in a queue.
fn direct(world: &World) -> Vec<Value> {
    let records = world.objects.iter().flat_map(|(_, bytes)| {
        let mut text = String::new();
        let mut reader = flate2::read::MultiGzDecoder::new(bytes.as_slice());
        std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
        let log: Value = serde_json::from_str(&text).unwrap();
        log["Records"].as_array().unwrap().clone()
    });
    let message = |(index, record): (usize, Value)| {
        let event = json!({"version": "0", "id": format!("b{index}"), "source": "aws.kms",
            "detail-type": "AWS API Call via CloudTrail", "account": "111122223333",
            "region": "eu-west-1", "detail": record});
        json!({"eventSource": "aws:sqs", "messageId": format!("direct-{index}"),
            "body": event.to_string()})
    };
    records.enumerate().map(message).collect()
}

/// Delivers the direct events, twice as queues do, then the files, and finalises.
fn run_direct(
    world: &World,
    cloud: &Cloud,
    proxy: &Proxy,
    plan: impl FnMut(&Call) -> Fault + Send + 'static,
) -> (BTreeMap<String, Vec<Value>>, Vec<Call>) {
    let (deployment, messages) = world.deploy(cloud);
    let start = || world.start(&deployment, &proxy.url);
    let mut function = Some(start());
    proxy.plan(plan);
    let direct = direct(world);
    deliver(&direct, &mut function, &start);
    deliver(&direct[..2], &mut function, &start);
    deliver(&messages, &mut function, &start);
    let published = finalize(world, &deployment, &mut function, &start);
    (published, proxy.plan(|_| Fault::None))
}

#[test]
fn with_direct_events_any_call_may_fail_or_lose_its_answer() {
    let (cloud, world) = (Cloud::start(), World::new());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let (published, calls) = run_direct(&world, &cloud, &proxy, |_| Fault::None);
    world.check(&published, &proxy, 0, "nothing spoiled");
    // Some of the calls, by turns: the calls of the files are those of the test without direct
    // events.
    let faults = [Fault::Refused(500), Fault::AnswerLost].into_iter().cycle();
    let plans: Vec<(usize, Fault)> = (0..calls.len())
        .step_by(if all_faults() { 1 } else { 3 })
        .zip(faults)
        .collect();
    side_by_side(&cloud, &plans, |&(place, fault), proxy| {
        let spoil = move |call: &Call| match call.index == place {
            true => fault,
            false => Fault::None,
        };
        let (published, _) = run_direct(&world, &cloud, proxy, spoil);
        let what = format!("{fault:?} of call {place}");
        // A publication whose answer is lost has gone out, and goes out again.
        let unknown = usize::from(fault == Fault::AnswerLost);
        world.check(&published, proxy, unknown, &what);
    });
}

#[test]
fn a_function_that_is_killed_among_direct_events_loses_nothing() {
    let (cloud, world) = (Cloud::start(), World::new());
    let places: Vec<usize> = (0..40).step_by(4).collect();
    side_by_side(&cloud, &places, |&place, proxy| {
        let (deployment, messages) = world.deploy(&cloud);
        let start = || world.start(&deployment, &proxy.url);
        let running = start();
        let kill = running.killer();
        let mut function = Some(running);
        proxy.plan(move |call| {
            if call.index == place {
                kill();
            }
            Fault::None
        });
        deliver(&direct(&world), &mut function, &start);
        deliver(&messages, &mut function, &start);
        let published = finalize(&world, &deployment, &mut function, &start);
        world.check(&published, proxy, 1, &format!("killed at call {place}"));
    });
}
