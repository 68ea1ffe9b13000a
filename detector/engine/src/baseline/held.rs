//! Accesses that alerts name: they are held back from a proposal, because an attack that lies in
//! the history must not become a grant.

use ahash::HashMap;

use crate::{access::Access, alert::Alert, ids::SharedStr, rule_meta::RuleLevel, time::EventTime};

/// What alerts of medium level or higher name.
#[derive(Debug, Default)]
pub(super) struct HeldBack<'a> {
    events: HashMap<&'a str, &'a str>,
    /// Windows by principal: start, exclusive, end, inclusive, and the title of the rule.
    windows: HashMap<&'a str, Vec<(EventTime, EventTime, &'a str)>>,
}

impl<'a> HeldBack<'a> {
    pub(super) fn of(alerts: &'a [Alert]) -> Self {
        let mut held = Self::default();
        for alert in alerts.iter().filter(|a| a.rule.level >= RuleLevel::Medium) {
            let title = alert.rule.title.as_str();
            held.events
                .extend(alert.events.iter().map(|event| (&*event.id, title)));
            // An alert lists only the first of many events.
            let is_cut = alert.accesses_total > alert.accesses.len();
            if let (Some(window), Some(principal), true) =
                (&alert.window_match, &alert.principal, is_cut)
            {
                let windows = held.windows.entry(principal).or_default();
                windows.push((window.start, window.end, title));
            }
        }
        held
    }

    /// Title of an alert that names an access; `None` if none does.
    pub(super) fn title(&self, access: &Access) -> Option<&'a str> {
        let head = &access.head;
        let by_event = self.events.get(&*head.event_id).copied();
        by_event.or_else(|| {
            let principal: &SharedStr = head.principal.id.as_ref()?;
            let windows = self.windows.get(&**principal)?;
            let mut around = windows
                .iter()
                .filter(|(start, end, _)| *start < head.time && head.time <= *end);
            around.next().map(|(_, _, title)| *title)
        })
    }
}
