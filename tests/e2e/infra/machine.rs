//! The state machine of the backfill, walked state by state as the Amazon States Language says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::rendering::{backfills, property, rendered};

/// The definition of each set-up.
fn definitions() -> Vec<Value> {
    let sets: Vec<Value> = backfills().into_iter().map(|(_, set)| set).collect();
    let all = rendered("backfill.yaml", &sets);
    let text = |one: &Value| property(one, "Machine", "DefinitionString").clone();
    all.iter()
        .map(|one| serde_json::from_str(text(one).as_str().unwrap()).unwrap())
        .collect()
}

/// An input as `backfill run` makes it.
fn input(more: bool) -> Value {
    let row = |part: &str| json!({"manifest": "m", "head": "1", "offset": "2", "length": "3", "part": part});
    json!({"bucket": "work", "prefix": "jobs/one/", "items": "jobs/one/items-1.csv",
        "results": "jobs/one/results", "canary": row("canary"), "other": row("other"), "more": more})
}

/// How an execution ends, and how often each part was tried.
#[derive(Debug, PartialEq)]
struct Walked {
    error: Option<String>,
    tries: BTreeMap<String, u32>,
    states: Vec<String>,
}

/// A function: the error of a try of a part, or none.
type Function<'f> = dyn FnMut(&str, u32) -> Option<&'static str> + 'f;

/// An execution under way.
struct Walk<'w> {
    function: &'w mut Function<'w>,
    /// Parts of the item list.
    items: &'w [String],
    walked: Walked,
}

/// The value at a path such as `$.bucket`.
fn at<'v>(path: &str, input: &'v Value) -> &'v Value {
    let found = path.strip_prefix("$.").and_then(|name| input.get(name));
    found.unwrap_or_else(|| panic!("{path} is not in {input}"))
}

/// Parameters with their paths replaced.
fn filled(parameters: &Value, input: &Value, item: Option<&Value>) -> Value {
    let fields = parameters.as_object().unwrap().iter().map(|(name, value)| {
        match (name.strip_suffix(".$"), value.as_str()) {
            (Some(name), Some("$$.Map.Item.Value")) => (name.to_owned(), item.unwrap().clone()),
            (Some(name), Some(path)) => (name.to_owned(), at(path, input).clone()),
            _ => (name.clone(), value.clone()),
        }
    });
    Value::Object(fields.collect())
}

fn names(rule: &Value) -> impl Iterator<Item = &str> {
    rule["ErrorEquals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
}

impl Walk<'_> {
    /// Runs states from the start on, and returns the error that nobody caught.
    fn run(&mut self, machine: &Value, mut input: Value) -> Option<String> {
        let mut name = machine["StartAt"].as_str().unwrap().to_owned();
        loop {
            let state = &machine["States"][&name];
            self.walked.states.push(name.clone());
            let result = match state["Type"].as_str().unwrap() {
                "Succeed" => return None,
                "Choice" => {
                    let chosen = state["Choices"].as_array().unwrap().iter().find(|choice| {
                        let value = at(choice["Variable"].as_str().unwrap(), &input);
                        value.as_bool().unwrap() == choice["BooleanEquals"].as_bool().unwrap()
                    });
                    let next = chosen.map_or(&state["Default"], |choice| &choice["Next"]);
                    name = next.as_str().unwrap().to_owned();
                    continue;
                }
                "Task" => self.task(state, &input),
                "Map" => self.map(state, &input),
                other => panic!("{other}"),
            };
            if let Some(error) = result {
                let catchers = state["Catch"].as_array();
                let mut catchers = catchers.into_iter().flatten();
                let Some(caught) = catchers.find(|rule| names(rule).any(|name| name == error))
                else {
                    return Some(error);
                };
                let place = caught["ResultPath"].as_str().unwrap();
                input[place.strip_prefix("$.").unwrap()] = json!({"Error": error});
                name = caught["Next"].as_str().unwrap().to_owned();
                continue;
            }
            if state["End"] == true {
                return None;
            }
            // What a state returns must not replace its input, which the next one needs.
            assert!(
                state.get("ResultPath").is_some_and(Value::is_null),
                "{name}"
            );
            name = state["Next"].as_str().unwrap().to_owned();
        }
    }

    /// Tries a task as often as its retriers allow: each counts the errors that it matches.
    fn task(&mut self, state: &Value, input: &Value) -> Option<String> {
        let input = match state.get("Parameters") {
            Some(parameters) => filled(parameters, input, None),
            None => input.clone(),
        };
        for name in ["bucket", "prefix"] {
            assert_eq!(input[name], self::input(true)[name]);
        }
        let part = input["item"]["part"].as_str().unwrap().to_owned();
        let mut retries: BTreeMap<usize, u64> = BTreeMap::new();
        loop {
            let tries = self.walked.tries.entry(part.clone()).or_default();
            *tries += 1;
            let error = (self.function)(&part, *tries)?;
            let retriers = state["Retry"].as_array().unwrap();
            let Some(index) = retriers
                .iter()
                .position(|rule| names(rule).any(|name| name == error))
            else {
                return Some(error.to_owned());
            };
            let used = retries.entry(index).or_default();
            *used += 1;
            if *used > retriers[index]["MaxAttempts"].as_u64().unwrap() {
                return Some(error.to_owned());
            }
        }
    }

    /// Runs a child for each item. Errors above the tolerated share fail it.
    fn map(&mut self, state: &Value, input: &Value) -> Option<String> {
        let reader = &state["ItemReader"]["Parameters"];
        let read = filled(reader, input, None);
        assert_eq!(
            read,
            json!({"Bucket": "work", "Key": "jobs/one/items-1.csv"})
        );
        let written = filled(&state["ResultWriter"]["Parameters"], input, None);
        assert_eq!(
            written,
            json!({"Bucket": "work", "Prefix": "jobs/one/results"})
        );
        let mut failed = 0;
        for part in self.items {
            let item =
                json!({"manifest": "m", "head": "1", "offset": "2", "length": "3", "part": part});
            let child = filled(&state["ItemSelector"], input, Some(&item));
            failed += usize::from(self.run(&state["ItemProcessor"], child).is_some());
        }
        let tolerated = state["ToleratedFailurePercentage"].as_u64().unwrap();
        let share = failed as u64 * 100;
        (share > tolerated * self.items.len() as u64)
            .then(|| "States.ExceedToleratedFailureThreshold".to_owned())
    }
}

fn walked(
    machine: &Value,
    items: usize,
    mut function: impl FnMut(&str, u32) -> Option<&'static str>,
) -> Walked {
    let items: Vec<String> = (0..items).map(|number| format!("part-{number}")).collect();
    let mut walk = Walk {
        function: &mut function,
        items: &items,
        walked: Walked {
            error: None,
            tries: BTreeMap::new(),
            states: Vec::new(),
        },
    };
    let error = walk.run(machine, input(!items.is_empty()));
    Walked {
        error,
        ..walk.walked
    }
}

#[test]
fn every_state_is_reached_and_every_retrier_is_patient() {
    for machine in definitions() {
        let states = machine["States"].as_object().unwrap();
        let text = machine.to_string();
        let reached: BTreeSet<&str> = states
            .keys()
            .map(String::as_str)
            .filter(|name| {
                let next = format!("\"Next\":\"{name}\"");
                let default = format!("\"Default\":\"{name}\"");
                machine["StartAt"] == **name || text.contains(&next) || text.contains(&default)
            })
            .collect();
        assert_eq!(reached.len(), states.len(), "{reached:?}");
        let extract = &states["Batches"]["ItemProcessor"]["States"]["Extract"];
        let tasks = [&states["Canary"], &states["OtherCanary"], extract];
        for task in tasks {
            assert_eq!(task["Retry"], extract["Retry"]);
            // More than the function has, so that its own timeout is the one that is seen.
            assert!(task["TimeoutSeconds"].as_u64().unwrap() > 600);
            let all = task["Retry"].as_array().unwrap().iter().flat_map(names);
            let all: Vec<&str> = all.collect();
            let once: BTreeSet<&str> = all.iter().copied().collect();
            assert_eq!(all.len(), once.len(), "an error has two retriers");
            for never in [
                "States.ALL",
                "States.TaskFailed",
                "Secretrail.Permanent",
                "Secretrail.AllFailed",
            ] {
                assert!(!once.contains(never), "{never}");
            }
            // The longest wait for a free place, with random times up to the limit.
            let throttled = &task["Retry"][0];
            let hours = throttled["MaxAttempts"].as_u64().unwrap()
                * throttled["MaxDelaySeconds"].as_u64().unwrap()
                / 2
                / 3_600;
            assert!(hours >= 24, "{hours} h");
            // Each retry is some events of a child's history, which holds 25,000.
            assert!(throttled["MaxAttempts"].as_u64().unwrap() * 5 < 25_000);
        }
    }
}

#[test]
fn throttling_is_waited_for_and_what_stays_is_not_retried() {
    for machine in definitions() {
        let throttled = walked(&machine, 3, |_, tries| {
            (tries <= 1_000).then_some("Lambda.TooManyRequestsException")
        });
        assert_eq!(throttled.error, None);
        assert!(throttled.tries.values().all(|tries| *tries == 1_001));
        // Two kinds of errors do not use up one another's tries.
        let mixed = walked(&machine, 3, |_, tries| match tries {
            1..=9 => Some("Secretrail.Transient"),
            10..=500 => Some("Lambda.TooManyRequestsException"),
            _ => None,
        });
        assert_eq!(mixed.error, None);
        let once = walked(&machine, 3, |_, _| Some("Secretrail.Permanent"));
        assert_eq!(once.error.as_deref(), Some("Secretrail.Permanent"));
        assert_eq!(once.tries, BTreeMap::from([("canary".to_owned(), 1)]));
        let memory = walked(&machine, 1, |_, _| Some("Lambda.Unknown"));
        assert_eq!(
            memory.tries["canary"], 3,
            "more memory is not there a third time"
        );
    }
}

#[test]
fn one_batch_runs_first_and_an_account_that_cannot_be_read_stops_nobody() {
    for machine in definitions() {
        let order = walked(&machine, 2, |_, _| None);
        let states = [
            "Canary",
            "AreThereMore",
            "Batches",
            "Extract",
            "Extract",
            "Done",
        ];
        assert_eq!(order.states, states);
        let alone = walked(&machine, 0, |_, _| None);
        assert_eq!((alone.error, alone.states.len()), (None, 3));
        let unreadable = walked(&machine, 2, |part, _| {
            (part == "canary").then_some("Secretrail.AllFailed")
        });
        assert_eq!(unreadable.error, None);
        assert_eq!(unreadable.tries.len(), 4, "{:?}", unreadable.tries);
        let nothing = walked(&machine, 2, |_, _| Some("Secretrail.AllFailed"));
        assert_eq!(nothing.error.as_deref(), Some("Secretrail.AllFailed"));
        assert_eq!(nothing.tries.len(), 2, "no batch starts");
    }
}

#[test]
fn a_job_of_two_hundred_thousand_batches_is_one_execution() {
    let machine = definitions().remove(0);
    let (batches, mut failed) = (199_999, 0);
    let job = walked(&machine, batches, |part, _| {
        let fails = part.ends_with('7');
        failed += usize::from(fails);
        fails.then_some("Secretrail.AllFailed")
    });
    assert_eq!(job.error, None);
    assert_eq!(job.tries.len(), batches + 1);
    assert!(failed > batches / 20, "more than one in twenty fail");
    // What children return goes to S3, and the map leaves nothing in the output.
    let map = &machine["States"]["Batches"];
    assert!(map["ResultPath"].is_null() && map["ResultWriter"]["Resource"].is_string());
    // With most of them failing, the rest is not started in vain.
    let hopeless = walked(&machine, 100, |part, _| {
        (part != "canary").then_some("Secretrail.Permanent")
    });
    let error = hopeless.error.as_deref();
    assert_eq!(error, Some("States.ExceedToleratedFailureThreshold"));
}
