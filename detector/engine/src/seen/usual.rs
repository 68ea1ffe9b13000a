//! What is usual for a principal, for incidents and alerts: found in the accesses of a run, or in
//! what a store remembers. Both count days on which something was read successfully over the
//! lookback; a store does not have the names of all networks and secrets of a principal.

use ahash::HashMap;

use super::{
    SeenTimes,
    keys::{CLASSES, CLIENT_SLOTS, client_token, profile_key, region_token},
};
use crate::{
    access::Access,
    actor::Actor,
    client::ClientProgram,
    ids::SharedStr,
    incident::usual::{
        CurrentTraits, CurrentValue, TraitValue, UsualFacts, UsualKind, UsualTrait, UsualValue,
        habits,
    },
    limits::DAY_SECS,
    network::SourceClass,
    observation::CallOutcome,
    time::EventTime,
};

/// The time before an incident or alert in which something may be usual.
#[derive(Debug, Clone, Copy)]
struct TimeBefore {
    oldest: EventTime,
    before: EventTime,
}

impl TimeBefore {
    fn of(current: &CurrentTraits, lookback_secs: i64) -> Self {
        Self {
            oldest: current.first.plus(-lookback_secs),
            before: current.first,
        }
    }

    fn days(self, times: &SeenTimes) -> usize {
        times.days_between(self.oldest, self.before)
    }

    fn first(self, times: &SeenTimes) -> Option<EventTime> {
        let mut times = times.iter();
        let first = times.find(|time| *time >= self.oldest)?;
        (first < self.before).then_some(first)
    }

    /// A value with the number of its days; `None` if there were none.
    fn usual(self, value: &SharedStr, times: &SeenTimes) -> Option<UsualValue> {
        let days = self.days(times);
        let value = value.clone();
        (days > 0).then_some(UsualValue { value, days })
    }
}

/// What some actors read successfully, by the accesses of a run in any order.
#[derive(Debug, Default)]
pub struct UsualHistory(HashMap<SharedStr, ActorHistory>);

/// What one actor read: times of all its reads, and by the values of each kind.
#[derive(Debug, Default)]
struct ActorHistory {
    all: SeenTimes,
    values: [HashMap<SharedStr, (SharedStr, SeenTimes)>; 4],
}

impl UsualHistory {
    /// What these actors read, of all accesses.
    #[must_use]
    pub fn of<'a>(
        actors: impl IntoIterator<Item = &'a Actor>,
        accesses: impl IntoIterator<Item = &'a Access>,
    ) -> Self {
        let actors = actors.into_iter().map(|actor| actor.key.clone());
        let mut history = Self(actors.map(|key| (key, ActorHistory::default())).collect());
        for access in accesses {
            if access.head.outcome == CallOutcome::Success {
                history.add(access);
            }
        }
        history
    }

    fn add(&mut self, access: &Access) {
        let key = Actor::key_of(&access.head.principal);
        if let Some(own) = key.and_then(|key| self.0.get_mut(&*key)) {
            own.add(access);
        }
    }

    /// The facts about what an actor does now, by the accesses over the lookback before.
    #[must_use]
    pub fn facts(&self, current: &CurrentTraits, lookback_secs: i64) -> UsualFacts {
        let time = TimeBefore::of(current, lookback_secs);
        let known = self.0.get(&current.actor.key);
        known.map_or_else(UsualFacts::nothing, |known| known.facts(current, time))
    }
}

impl ActorHistory {
    fn add(&mut self, access: &Access) {
        let time = access.head.time;
        self.all.add(time, DAY_SECS);
        for (known, value) in self.values.iter_mut().zip(habits(access)) {
            let Some(TraitValue { shown, identity }) = value else {
                continue;
            };
            if let Some(identity) = identity {
                let known = known.entry(identity);
                let (_, times) = known.or_insert_with(|| (shown, SeenTimes::default()));
                times.add(time, DAY_SECS);
            }
        }
    }

    fn facts(&self, current: &CurrentTraits, time: TimeBefore) -> UsualFacts {
        let days = time.days(&self.all);
        if days == 0 {
            return UsualFacts::nothing();
        }
        let kinds = UsualKind::ALL.into_iter().zip(&self.values);
        let traits = kinds.zip(&current.values).map(|((kind, known), now)| {
            let usual = known.values();
            let usual = usual.filter_map(|(shown, times)| time.usual(shown, times));
            let usual: Vec<UsualValue> = usual.collect();
            let values = now.known.iter().map(|value| CurrentValue {
                value: value.shown.clone(),
                is_new: is_new(value, known, &usual, time),
            });
            let values = values.collect();
            UsualTrait::new(kind, usual, values, now.hidden)
        });
        UsualFacts {
            days,
            since: time.first(&self.all),
            traits: traits.collect(),
        }
    }
}

/// Whether a value is new beside what is known; by its name alone, it can only be known.
fn is_new(
    value: &TraitValue,
    known: &HashMap<SharedStr, (SharedStr, SeenTimes)>,
    usual: &[UsualValue],
    time: TimeBefore,
) -> Option<bool> {
    match &value.identity {
        Some(identity) => {
            let known = known.get(identity);
            Some(known.is_none_or(|(_, times)| time.days(times) == 0))
        }
        None => {
            let is_known = usual.iter().any(|usual| usual.value == value.shown);
            is_known.then_some(false)
        }
    }
}

/// What is asked of a store about what an actor does now. A store knows a principal by the name of
/// the actor.
#[derive(Debug)]
pub struct UsualQuery<'c> {
    current: &'c CurrentTraits,
    asked: Vec<AskedKey>,
}

/// A key of the store, and what its times say.
#[derive(Debug)]
struct AskedKey {
    key: SharedStr,
    says: KeySays,
}

#[derive(Debug, Clone)]
enum KeySays {
    /// That the principal read anything.
    Reads,
    /// That a value of a kind was usual; programs of one slot share one.
    Usual(usize, SharedStr),
    /// Whether a value of now, by its place, was usual; with its name if it is to be listed.
    Now(usize, usize, Option<SharedStr>),
}

/// Most values of one kind that are asked for.
const ASKED: usize = 20;

/// Programs that are not known by name.
const OTHER_PROGRAMS: &str = "other programs";

impl<'c> UsualQuery<'c> {
    /// The query about an actor.
    #[must_use]
    pub fn new(current: &'c CurrentTraits) -> Self {
        let mut query = Self {
            current,
            asked: Vec::new(),
        };
        let principal = &current.actor.name;
        query.ask(format!("principal\n{principal}"), KeySays::Reads);
        for (token, kind, value) in profile_values() {
            let says = KeySays::Usual(kind, value);
            query.ask(profile_key(principal, &token), says);
        }
        for (kind, now) in current.values.iter().enumerate() {
            for (place, value) in now.known.iter().take(ASKED).enumerate() {
                let key = value.identity.as_deref();
                let key = key.and_then(|identity| key_of(principal, kind, identity));
                // Programs and regions are in the profile by name.
                let listed = (kind == SOURCE || kind == SECRET).then(|| value.shown.clone());
                if let Some(key) = key {
                    query.ask(key, KeySays::Now(kind, place, listed));
                }
            }
        }
        query
    }

    fn ask(&mut self, key: String, says: KeySays) {
        let key = key.into();
        self.asked.push(AskedKey { key, says });
    }

    /// The keys to look up.
    #[must_use]
    pub fn keys(&self) -> Vec<SharedStr> {
        self.asked.iter().map(|asked| asked.key.clone()).collect()
    }

    /// Number of these keys.
    #[must_use]
    pub fn number_of_keys(&self) -> usize {
        self.asked.len()
    }

    /// The facts, by the times of the keys in their order.
    #[must_use]
    pub fn facts(&self, times: &[SeenTimes], lookback_secs: i64) -> UsualFacts {
        let time = TimeBefore::of(self.current, lookback_secs);
        let mut usual: [Vec<UsualValue>; 4] = Default::default();
        let mut verdicts: HashMap<(usize, usize), bool> = HashMap::default();
        let (mut days, mut since) = (0, None);
        for (asked, times) in self.asked.iter().zip(times) {
            match &asked.says {
                KeySays::Reads => (days, since) = (time.days(times), time.first(times)),
                KeySays::Usual(kind, value) => {
                    if let Some(list) = usual.get_mut(*kind) {
                        add_longest(list, time.usual(value, times));
                    }
                }
                KeySays::Now(kind, place, listed) => {
                    verdicts.insert((*kind, *place), time.days(times) == 0);
                    let listed = listed.as_ref().and_then(|name| time.usual(name, times));
                    if let Some(list) = usual.get_mut(*kind) {
                        list.extend(listed);
                    }
                }
            }
        }
        if days == 0 {
            return UsualFacts::nothing();
        }
        UsualFacts {
            days,
            since,
            traits: self.traits(usual, &verdicts),
        }
    }

    fn traits(
        &self,
        usual: [Vec<UsualValue>; 4],
        verdicts: &HashMap<(usize, usize), bool>,
    ) -> Vec<UsualTrait> {
        let kinds = UsualKind::ALL.into_iter().zip(usual).enumerate();
        let traits = kinds.zip(&self.current.values);
        traits
            .map(|((at, (kind, usual)), now)| {
                // Regions were not recorded at first: without any, none can be called new.
                let is_recorded = kind != UsualKind::Region || !usual.is_empty();
                let values = now.known.iter().enumerate();
                let values = values.map(|(place, value)| CurrentValue {
                    value: value.shown.clone(),
                    is_new: verdicts.get(&(at, place)).copied().filter(|_| is_recorded),
                });
                UsualTrait::new(kind, usual, values.collect(), now.hidden)
            })
            .collect()
    }
}

/// Adds a value; of several with one name, that of most days.
fn add_longest(list: &mut Vec<UsualValue>, value: Option<UsualValue>) {
    let Some(value) = value else {
        return;
    };
    match list.iter_mut().find(|known| known.value == value.value) {
        Some(known) => known.days = known.days.max(value.days),
        None => list.push(value),
    }
}

/// Places of the kinds in [`UsualKind::ALL`].
const SOURCE: usize = 0;
const CLIENT: usize = 1;
const REGION: usize = 2;
const SECRET: usize = 3;

/// The tokens of a profile that name something usual: with its kind, and the value.
fn profile_values() -> impl Iterator<Item = (String, usize, SharedStr)> {
    let classes = CLASSES.into_iter().map(|class| {
        let token = format!("k{}", class.as_str());
        (token, SOURCE, class_name(class).into())
    });
    let known = ClientProgram::known_families();
    let known = known.map(|family| (format!("c{family}"), CLIENT, family.into()));
    let others = (0..CLIENT_SLOTS).map(|slot| (format!("c{slot}"), CLIENT, OTHER_PROGRAMS.into()));
    let regions = region_names().filter_map(|region| {
        let token = region_token(&region)?;
        Some((token, REGION, region.into()))
    });
    classes.chain(known).chain(others).chain(regions)
}

fn class_name(class: SourceClass) -> &'static str {
    match class {
        SourceClass::Private => "private addresses",
        SourceClass::VpcEndpoint => "VPC endpoints",
        _ => "public addresses",
    }
}

/// Names that regions have or may get. What has another name is not listed as usual, and whether it
/// is new is known all the same.
fn region_names() -> impl Iterator<Item = String> {
    const AREAS: [&str; 13] = [
        "af", "ap", "ca", "cn", "eu", "eusc-de", "il", "me", "mx", "sa", "us", "us-gov", "us-iso",
    ];
    const PLACES: [&str; 9] = [
        "central",
        "east",
        "north",
        "northeast",
        "northwest",
        "south",
        "southeast",
        "southwest",
        "west",
    ];
    let places = AREAS.into_iter().flat_map(|area| {
        let places = PLACES.into_iter();
        places.map(move |place| format!("{area}-{place}"))
    });
    places.flat_map(|place| (1..=7).map(move |number| format!("{place}-{number}")))
}

/// The key under which a value of now was recorded, if it was; `None` where none would be.
fn key_of(principal: &str, kind: usize, identity: &str) -> Option<String> {
    match kind {
        SOURCE => Some(format!("source\n{principal}\n{identity}")),
        CLIENT => Some(profile_key(principal, &client_token(identity))),
        REGION => Some(profile_key(principal, &region_token(identity)?)),
        _ => Some(format!("pair\n{principal}\n{identity}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        access::sample,
        actor::ActorKind,
        incident::{Incident, IncidentPeriods, grouping::IncidentGrouping},
        seen::{LookbackPeriods, Sighting, remembered},
        state::contract,
    };

    const LOOKBACK: i64 = 90 * DAY_SECS;

    /// A read on a day from an address, of a secret.
    fn on(day: i64, ip: &str, secret: &str) -> Access {
        let mut access = sample();
        let head = Arc::make_mut(&mut access.head);
        head.time = EventTime(day * DAY_SECS + 60);
        let source = Arc::make_mut(&mut head.source);
        source.ip = Some(ip.into());
        source.user_agent = Some("Boto3/1.36.2".into());
        access.secret.name = Some(secret.into());
        access
    }

    fn actor() -> Actor {
        let principal = &sample().head.principal;
        Actor {
            kind: ActorKind::Principal,
            key: Actor::key_of(principal).unwrap().into(),
            name: principal.id.clone().unwrap(),
        }
    }

    fn arn(name: &str) -> SharedStr {
        let secret = sample().secret;
        let (account, region) = (&secret.account, &secret.region);
        format!("arn:aws:ssm:{region}:{account}:parameter/{name}").into()
    }

    /// What the actor does on day 100.
    fn current(networks: &[&str], clients: &[&str], secrets: &[&str]) -> CurrentTraits {
        let mut alert = contract::alert("e1");
        alert.actor = actor();
        alert.time = EventTime(100 * DAY_SECS);
        alert.began = alert.time;
        alert.events.clear();
        let shared = |values: &[&str]| values.iter().map(|value| SharedStr::from(*value)).collect();
        alert.origin.networks = shared(networks);
        alert.traits.clients = shared(clients);
        alert.traits.regions = vec![sample().head.region.clone(), "sa-east-1".into()];
        alert.secrets = secrets.iter().map(|name| arn(name)).collect();
        alert.secrets_total = secrets.len();
        let periods = IncidentPeriods::default();
        let grouped = IncidentGrouping::all(periods, vec![alert]);
        let incident: &Incident = &grouped.incidents[0];
        CurrentTraits::of_incident(incident).unwrap()
    }

    fn by_logs(current: &CurrentTraits, accesses: &[Access]) -> UsualFacts {
        UsualHistory::of([&current.actor], accesses).facts(current, LOOKBACK)
    }

    /// The facts by a store that has recorded the accesses.
    fn by_store(current: &CurrentTraits, accesses: &[Access]) -> UsualFacts {
        let lookback = LookbackPeriods::default();
        let mut known: HashMap<SharedStr, SeenTimes> = HashMap::default();
        for Sighting { key, time } in accesses.iter().flat_map(remembered) {
            let known = known.entry(key).or_default();
            known.add(time, lookback.grain_secs());
        }
        let query = UsualQuery::new(current);
        let keys = query.keys().into_iter();
        let times = keys.map(|key| known.get(&key).cloned().unwrap_or_default());
        query.facts(&times.collect::<Vec<_>>(), LOOKBACK)
    }

    fn history() -> Vec<Access> {
        let mut denied = on(99, "192.0.2.1", "denied");
        Arc::make_mut(&mut denied.head).outcome = CallOutcome::Denied;
        let mut other = on(98, "203.0.113.9", "c");
        let principal = &mut Arc::make_mut(&mut other.head).principal;
        Arc::make_mut(principal).id = Some("arn:aws:iam::111122223333:role/other".into());
        Arc::make_mut(principal).principal_id = Some("AROAOTHER:s".into());
        vec![
            on(9, "192.0.2.2", "long ago"),
            on(20, "10.0.0.1", "a"),
            on(21, "10.0.0.2", "a"),
            on(21, "10.0.0.2", "b"),
            denied,
            other,
            on(100, "203.0.113.7", "c"),
        ]
    }

    #[test]
    fn usual_and_now_are_beside_each_other_and_what_is_new_is_marked() {
        let networks = ["10.0.0.0/24", "203.0.113.0/24"];
        let now = current(&networks, &["aws-cli 2.15.0", "boto3 1.4"], &["b", "c"]);
        let region = &sample().head.region;
        let heading = "usual (reads on 2 days since 1970-01-21), and now";
        assert_eq!(
            by_logs(&now, &history()).texts(),
            [
                heading,
                "from: 10.0.0.0/24 (2 days); now 203.0.113.0/24 (new), 10.0.0.0/24",
                "client: boto3 (2 days); now aws-cli 2.15.0 (new), boto3 1.4",
                &format!("region: {region} (2 days); now sa-east-1 (new), {region}"),
                "secret: a (2 days), b (1 day); now c (new), b",
            ]
        );
        // A store has no list of the networks and secrets of a principal.
        assert_eq!(
            by_store(&now, &history()).texts(),
            [
                heading,
                "from: 10.0.0.0/24 (2 days), private addresses (2 days); \
                 now 203.0.113.0/24 (new), 10.0.0.0/24",
                "client: boto3 (2 days); now aws-cli 2.15.0 (new), boto3 1.4",
                &format!("region: {region} (2 days); now sa-east-1 (new), {region}"),
                "secret: b (1 day); now c (new), b",
            ]
        );
    }

    #[test]
    fn programs_of_any_name_are_known_again_without_being_listed() {
        let mut access = on(50, "10.0.0.1", "a");
        let head = Arc::make_mut(&mut access.head);
        Arc::make_mut(&mut head.source).user_agent = Some("homemade/1.0".into());
        let now = current(&[], &["homemade 2.0"], &[]);
        let facts = by_store(&now, &[access]);
        assert!(
            facts
                .texts()
                .contains(&"client: other programs (1 day); now homemade 2.0".to_owned()),
            "{:?}",
            facts.texts()
        );
    }

    #[test]
    fn without_history_nothing_is_usual_and_nothing_is_called_new() {
        let now = current(&["10.0.0.0/24"], &[], &["a"]);
        let today = [on(100, "10.0.0.1", "a")];
        assert_eq!(by_logs(&now, &today), UsualFacts::nothing());
        assert_eq!(by_store(&now, &today), UsualFacts::nothing());
        assert_eq!(by_logs(&now, &[]), UsualFacts::nothing());
    }

    #[test]
    fn a_name_alone_is_known_or_in_doubt_and_never_new() {
        let mut now = current(&[], &[], &["a"]);
        let by_name = |name: &str| TraitValue {
            shown: name.into(),
            identity: None,
        };
        now.values[SECRET].known = vec![by_name("a"), by_name("z")];
        let facts = by_logs(&now, &[on(50, "10.0.0.1", "a")]);
        let verdicts = facts.traits[SECRET].now.iter().map(|now| now.is_new);
        assert_eq!(verdicts.collect::<Vec<_>>(), [Some(false), None]);
    }

    #[test]
    fn regions_of_today_may_be_listed() {
        let all: Vec<String> = region_names().collect();
        for region in [
            "us-east-1",
            "eu-central-2",
            "ap-southeast-7",
            "us-gov-west-1",
            "cn-northwest-1",
            "il-central-1",
        ] {
            assert!(all.iter().any(|name| name == region), "{region}");
        }
    }

    proptest! {
        #[test]
        fn logs_and_store_agree_and_the_order_changes_nothing(
            all in prop::collection::vec((0..110_i64, 0..9_u8, 0..9_u8), 0..60),
            order in prop::collection::vec(any::<u32>(), 60),
        ) {
            let accesses: Vec<Access> = all
                .iter()
                .map(|(day, net, secret)| on(*day, &format!("10.0.{net}.1"), &format!("s{secret}")))
                .collect();
            let mut shuffled: Vec<(u32, Access)> =
                order.into_iter().zip(accesses.iter().cloned()).collect();
            shuffled.sort_by_key(|(place, _)| *place);
            let shuffled: Vec<Access> = shuffled.into_iter().map(|(_, access)| access).collect();
            let networks: Vec<String> = (0..9).map(|net| format!("10.0.{net}.0/24")).collect();
            let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
            let secrets: Vec<String> = (0..9).map(|n| format!("s{n}")).collect();
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let now = current(&networks, &["boto3", "aws-cli"], &secrets);
            let logs = by_logs(&now, &accesses);
            prop_assert_eq!(&logs, &by_logs(&now, &shuffled));
            let stored = by_store(&now, &shuffled);
            prop_assert_eq!((logs.days, logs.since), (stored.days, stored.since));
            for (logs, stored) in logs.traits.iter().zip(&stored.traits) {
                prop_assert_eq!(&logs.now, &stored.now);
            }
        }
    }
}
