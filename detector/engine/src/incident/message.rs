//! What is published of an incident: a subject, and JSON; the text of a mail is in `mail`. Text
//! from logs is sanitised.

use std::sync::Arc;

use super::{
    Incident, IncidentPeriods, Listed,
    announced::{AnnouncedIncident, IncidentEnd, IncidentNews, NewsKind},
    decision::{Decided, DecidedStatus},
    json_v1::IncidentV1,
    mail,
    story::{IncidentStory, counted, first_and_rest, short_name},
};
use crate::{
    actor::{Actor, ActorKind, Origin},
    alert::{Alert, AlertId, AlertTraits, alert_digest::INCIDENT_RULE, cut, text},
    ids::{ArnParts, SharedStr, secret_name},
    rule_meta::RuleMeta,
    sanitize,
    time::EventTime,
};

/// Most characters of the reason of a decision.
const REASON: usize = 200;

/// Most new values that are named in a line.
const NEW_VALUES: usize = 3;

/// Most characters of any value: an ARN has at most 2,048, names of AWS have fewer.
const LONGEST: usize = 1_000;

/// Most characters of a value, and most values of a list, in JSON that would be too long otherwise.
const CHARS: usize = 200;
const FEW: usize = 20;

/// An incident, and what is to be said of it now.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentMessage {
    /// What is published of it.
    pub announced: AnnouncedIncident,
    /// Its content.
    pub incident: Incident,
    /// The time of publishing.
    pub now: EventTime,
    /// Decisions of people that it names, the last first.
    pub decisions: Vec<Decided>,
}

impl IncidentMessage {
    /// The message about an incident. Without its content, as when it has ended, it has what was
    /// published before.
    #[must_use]
    pub fn new(announced: AnnouncedIncident, incident: Option<Incident>, now: EventTime) -> Self {
        let incident = incident.unwrap_or_else(|| last_known(&announced));
        let incident = shortened(incident, LONGEST, usize::MAX);
        Self {
            announced,
            incident,
            now,
            decisions: Vec::new(),
        }
    }

    /// The message that also names decisions: see
    /// [`IncidentDecision::named_in`](super::decision::IncidentDecision::named_in).
    #[must_use]
    pub fn naming(self, decisions: Vec<Decided>) -> Self {
        Self { decisions, ..self }
    }

    /// Identity of the message: the same when it is repeated.
    #[must_use]
    pub fn id(&self) -> String {
        let AnnouncedIncident { id, messages, .. } = &self.announced;
        format!("{}-{messages}", id.0)
    }

    /// How its title begins: `high incident: `, or `update, high incident: `.
    #[must_use]
    pub fn prefix(&self) -> String {
        let level = self.incident.level;
        match self.announced.news.kind {
            NewsKind::Opened => format!("{level} incident: "),
            NewsKind::Updated => format!("update, {level} incident: "),
            NewsKind::Merged => format!("merged, {level} incident: "),
            NewsKind::Withdrawn => format!("withdrawn, {level} incident: "),
        }
    }

    /// What happened to it since the message before, in sentences; empty for the first message.
    #[must_use]
    pub fn news(&self) -> Vec<String> {
        let news = &self.announced.news;
        match (news.kind, &self.announced.end) {
            (NewsKind::Opened, _) => Vec::new(),
            (NewsKind::Updated, _) => {
                let mut lines = self.decided();
                lines.extend(self.updates(news));
                lines
            }
            (NewsKind::Merged, Some(IncidentEnd::MergedInto(id))) => vec![format!(
                "Alerts that came late belong between this incident and another one: it goes on \
                 as a part of incident {}.",
                id.0
            )],
            (NewsKind::Merged | NewsKind::Withdrawn, _) => vec![
                "Withdrawn: records that came late show that what its alerts call new was seen \
                 before. Nothing need be done."
                    .to_owned(),
            ],
        }
    }

    /// Who closed it and who reopened it, when and why.
    fn decided(&self) -> Vec<String> {
        let decisions = self.decisions.iter().enumerate();
        let sentences = decisions.map(|(index, decided)| {
            let Decided { by, reason, .. } = decided;
            let (at, reason) = (decided.time(), cut(reason, REASON));
            match decided.status {
                DecidedStatus::Closed if index == 0 => format!(
                    "Open again: what is new was not known when {by} closed it at {at}: {reason}"
                ),
                DecidedStatus::Closed => format!("It had been closed by {by} at {at}: {reason}"),
                DecidedStatus::Reopened => format!("Reopened by {by} at {at}: {reason}"),
            }
        });
        sentences.collect()
    }

    fn updates(&self, news: &IncidentNews) -> Vec<String> {
        let mut lines = Vec::new();
        let exposure = self.incident.exposure.as_ref();
        lines.extend(news.exposure.map(|news| news.sentence(exposure)));
        let level = self.incident.level;
        if let Some(before) = news.level_before.filter(|before| *before != level) {
            lines.push(format!("The level is {level} now, not {before}."));
        }
        let titles = self.incident.rules.iter();
        let titles = titles.filter(|known| news.rules.iter().any(|id| **id == *known.rule.id));
        let titles: Vec<&str> = titles.map(|known| known.rule.title.as_str()).collect();
        for (label, values) in [
            ("new rule", titles),
            ("new secret", names(&news.secrets)),
            ("new source", names(&news.sources)),
            ("new region", names(&news.regions)),
        ] {
            lines.extend(new_values(label, &values));
        }
        if news.alerts > 0 {
            let all = self.incident.alerts_total;
            let more = counted(news.alerts, "more alert");
            lines.push(format!("{more}, {all} in all."));
        }
        let merged: Vec<String> = news.merged.iter().map(|id| id.0.to_string()).collect();
        if !merged.is_empty() {
            lines.push(format!("It was published before as {}.", merged.join(", ")));
        }
        lines
    }

    /// One line of printable ASCII, for the subject of a mail: level, actor, secrets, source.
    #[must_use]
    pub fn subject(&self) -> String {
        let alert = self.as_alert();
        text::subject_of(&(self.prefix() + &alert.rule.title), &alert)
    }

    /// The incident in plain text, forty lines at most where no text is longer than a line.
    #[must_use]
    pub fn body(&self) -> String {
        mail::body(self)
    }

    /// The incident as `secretrail.incident/1`, with fewer and shorter values where it would have
    /// more bytes otherwise.
    #[must_use]
    pub fn json(&self, most_bytes: usize) -> String {
        let whole = self.json_of(&self.incident);
        if whole.len() <= most_bytes {
            return whole;
        }
        self.json_of(&shortened(self.incident.clone(), CHARS, FEW))
    }

    fn json_of(&self, incident: &Incident) -> String {
        let form = IncidentV1::new(incident, self.now, IncidentPeriods::default());
        // Cannot fail: every key is text.
        let text = serde_json::to_string(&form.published(&self.announced, &self.decisions))
            .unwrap_or_default();
        sanitize::json(&text).into_owned()
    }

    /// The incident in the form of an alert, for subjects and for formats that know only alerts.
    #[must_use]
    pub fn as_alert(&self) -> Alert {
        let incident = &self.incident;
        let story = IncidentStory::of(incident);
        let (account, region) = place(incident);
        let actor = &incident.actor;
        let is_principal = actor.kind == ActorKind::Principal;
        let rule = RuleMeta {
            id: INCIDENT_RULE.to_owned(),
            title: title(incident),
            level: incident.level,
            description: story.why.join(" "),
            next_steps: story.checks,
            false_positives: story.harmless_if,
            ..RuleMeta::default()
        };
        Alert {
            id: AlertId(incident.id.0.clone()),
            rule: Arc::new(rule),
            time: incident.last,
            began: incident.first,
            window_match: None,
            summary: story.headline,
            account,
            region,
            principal: is_principal.then(|| actor.name.clone()),
            secrets: incident.secrets.first.clone(),
            secrets_total: incident.secrets.total,
            accesses: Vec::new(),
            accesses_total: 0,
            events: Vec::new(),
            actor: actor.clone(),
            origin: Origin::default(),
            common: None,
            former: Vec::new(),
            traits: AlertTraits::default(),
            incident: Some(incident.id.clone()),
            withdrawn: self.announced.end == Some(IncidentEnd::Withdrawn),
        }
    }
}

/// The actor, the first secret and the first source, in one sentence: `role/app read a and 2 more
/// from 203.0.113.9`. Only the actor, where it is about no secret.
#[must_use]
pub fn title(incident: &Incident) -> String {
    // A subject names the account at its end.
    let actor = &incident.actor.name;
    let mut title = match ArnParts::parse(actor) {
        Some(arn) if !arn.account.is_empty() => {
            let name = short_name(actor);
            let account = format!(" in {}", arn.account);
            name.strip_suffix(&account).unwrap_or(&name).to_owned()
        }
        _ => short_name(actor),
    };
    if let Some(deed) = deed(incident) {
        title = format!("{title} {deed}");
    }
    match incident.sources.first.first() {
        Some(source) if incident.actor.kind != ActorKind::Address => {
            format!("{title} from {source}")
        }
        _ => title,
    }
}

/// `read a and 2 more`, where all of them are known to have been read; otherwise `read a and
/// touched 2 more`, or `touched a and 2 more`. `None` where there is no secret.
fn deed(incident: &Incident) -> Option<String> {
    let (secrets, revealed) = (&incident.secrets, &incident.revealed);
    let all_read = revealed.total == secrets.total;
    let (verb, first, others) = match revealed.first.first() {
        Some(first) if all_read => ("read", first, ""),
        Some(first) => ("read", first, "touched "),
        None => ("touched", secrets.first.first()?, ""),
    };
    let name = secret_name(first);
    Some(match secrets.total.saturating_sub(1) {
        0 => format!("{verb} {name}"),
        more => format!("{verb} {name} and {others}{more} more"),
    })
}

/// Account and region, where there is one of them.
fn place(incident: &Incident) -> (Option<SharedStr>, Option<SharedStr>) {
    let name = &incident.actor.name;
    let account = match incident.actor.kind {
        ActorKind::Log => name.split_once(' ').map(|(account, _)| account),
        _ => ArnParts::parse(name).map(|arn| arn.account),
    };
    let account = account.filter(|account| !account.is_empty());
    let region = incident.regions.first.first();
    let region = region.filter(|_| incident.regions.total == 1);
    (account.map(SharedStr::from), region.cloned())
}

/// What was published before, where there is no content any more.
fn last_known(announced: &AnnouncedIncident) -> Incident {
    let values = &announced.values;
    let actor = announced.actor.clone();
    Incident {
        id: announced.id.clone(),
        level: announced.level,
        score: announced.score,
        first: announced.first,
        last: announced.last,
        rules: Vec::new(),
        rules_total: values.rules.len(),
        secrets: listed(&values.secrets),
        sources: listed(&values.sources),
        regions: listed(&values.regions),
        alert_ids: announced.alert_ids.clone(),
        alerts_total: announced.alerts_total,
        ..Incident::empty(actor, announced.first)
    }
}

fn listed<'v>(values: impl IntoIterator<Item = &'v SharedStr>) -> Listed {
    let first: Vec<SharedStr> = values.into_iter().cloned().collect();
    Listed {
        total: first.len(),
        first,
    }
}

/// The incident with fewer and shorter values: names in logs may be of any length.
fn shortened(mut incident: Incident, chars: usize, most: usize) -> Incident {
    incident.origins.shorten(chars, most);
    if let Some(usual) = &mut incident.usual {
        usual.truncate(most);
        usual
            .values()
            .for_each(|value| *value = cut(value, chars).into());
    }
    let Incident {
        secrets,
        revealed,
        sources,
        regions,
        sessions,
        access_keys,
        clients,
        networks,
        actor,
        rules,
        exposure,
        ..
    } = &mut incident;
    let lists = [
        secrets,
        revealed,
        sources,
        regions,
        sessions,
        access_keys,
        clients,
        networks,
    ];
    for listed in lists {
        listed.first.truncate(most);
        for value in &mut listed.first {
            *value = cut(value, chars).into();
        }
    }
    *actor = Actor {
        kind: actor.kind,
        key: cut(&actor.key, chars).into(),
        name: cut(&actor.name, chars).into(),
    };
    if let Some(exposure) = exposure {
        // All of them are counted, and few are listed.
        for version in &mut exposure.versions {
            version.secret = cut(&version.secret, chars).into();
        }
    }
    rules.truncate(most);
    for rule in rules {
        rule.summary = cut(&rule.summary, chars);
    }
    incident
}

/// Values as they are shown: secrets by their names.
fn names(values: &[SharedStr]) -> Vec<&str> {
    values.iter().map(|value| secret_name(value)).collect()
}

/// `2 new secrets: a, b.`; `None` without values.
fn new_values(label: &str, values: &[&str]) -> Option<String> {
    let named = first_and_rest(values, NEW_VALUES, 0)?;
    Some(format!("{}: {named}.", counted(values.len(), label)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_decided_is_said_first_when_and_why() {
        let decided = |status, reason: &str| Decided {
            status,
            reason: reason.to_owned(),
            by: "arn:aws:iam::111122223333:user/ana".to_owned(),
            at: 1_772_445_600,
        };
        let incident = crate::state::contract::announced("ann", 100);
        let said = |decisions: Vec<Decided>| {
            let mut known = incident.clone();
            known.news = IncidentNews::of(NewsKind::Updated);
            let message = IncidentMessage::new(known, None, EventTime(0)).naming(decisions);
            let body = message.body();
            (message.news(), body, message.json(usize::MAX))
        };
        let closed = decided(DecidedStatus::Closed, "a drill\u{1b}[31m");
        let (news, body, json) = said(vec![closed.clone()]);
        let expected = "Open again: what is new was not known when \
            arn:aws:iam::111122223333:user/ana closed it at 2026-03-02T10:00:00Z: a drill";
        assert!(news.len() == 1 && news[0].starts_with(expected), "{news:?}");
        assert!(
            body.contains(expected) && !body.contains('\u{1b}'),
            "{body}"
        );
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let first = &json["news"]["decisions"][0];
        assert_eq!(
            (&first["status"], &first["at"]),
            (&"closed".into(), &"2026-03-02T10:00:00Z".into())
        );
        let (news, ..) = said(vec![
            decided(DecidedStatus::Reopened, "it was real"),
            closed,
        ]);
        assert!(
            news[0].ends_with("Z: it was real") && news[1].starts_with("It had been closed by")
        );
        assert_eq!(said(Vec::new()).0, [""; 0]);
    }

    #[test]
    fn a_title_says_read_only_of_what_was_read() {
        let role = "arn:aws:iam::111122223333:role/app";
        let actor = Actor {
            kind: ActorKind::Principal,
            ..Actor::by_names(Some(role), None, None)
        };
        let secret = |name: &str| {
            SharedStr::from(format!(
                "arn:aws:ssm:eu-west-1:111122223333:parameter/{name}"
            ))
        };
        let all = ["a", "b", "c"].map(secret);
        for (revealed, secrets, title_of) in [
            (&all[..0], &all[..0], "role/app"),
            (&all[..0], &all[..1], "role/app touched /a"),
            (&all[..0], &all[..3], "role/app touched /a and 2 more"),
            (&all[1..2], &all[..3], "role/app read /b and touched 2 more"),
            (&all[..3], &all[..3], "role/app read /a and 2 more"),
        ] {
            let incident = Incident {
                revealed: listed(revealed),
                secrets: listed(secrets),
                ..Incident::empty(actor.clone(), EventTime(0))
            };
            assert_eq!(title(&incident), title_of);
        }
    }
}
