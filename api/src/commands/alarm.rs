//! `settle alarm`: what needs a person's attention.

use super::drawn::{Flag, Resource, Verb, Verbs};
use super::table::Column;

const COLUMNS: &[Column] = &[
    ("last", "last_at"),
    ("count", "count"),
    ("kind", "kind"),
    ("platform", "platform"),
    ("first", "at"),
    ("detail", "detail"),
    ("note", "note"),
    ("id", "id"),
];

const LIST: Verb = Verb::get(
    "list",
    "/v1/alarms",
    "List the alarms, the last raised first",
    "\
An alarm stays in the list; one that is raised again with the same text is counted, moves to the top and is open again.

Example:
  settle alarm list --limit 10
  settle alarm list --open
Next: for a topic that waits for approval `settle platform topics ID`, for a destination in trouble
`settle explain destination ID`, for tables that disagree `settle check`. `settle alarm acknowledge ID` closes one.",
)
.list(COLUMNS, "No alarm was ever raised.", "No alarm matches.");

const SHOW: Verb = Verb::get(
    "show",
    "/v1/alarms/{alarm_id}",
    "Show one alarm",
    "\
Example:
  settle alarm show ALARM_ID
Next: `settle alarm acknowledge ID --note TEXT`.",
);

const ACKNOWLEDGE: Verb = Verb::post(
    "acknowledge",
    "/v1/alarms/{alarm_id}/acknowledge",
    "Note that you know of an alarm. Raised again, it is open again",
    "\
Example:
  settle alarm acknowledge ALARM_ID --note \"the new secret is set\"
Next: `settle audit-log --operation alarm.acknowledge` shows who did so.",
)
.flags(&[Flag::of("last_at").hidden()]);

pub const RESOURCE: Resource = Resource {
    name: "alarm",
    about: "Alarms: what needs a person's attention, with a count and the last time",
    help: "\
Example:
  settle alarm list --open
  settle alarm acknowledge ALARM_ID --note \"the new secret is set\"
Next: what an alarm is about: `settle platform show ID`, `settle explain destination ID`, `settle check`.",
    verbs: Verbs::Named(&[LIST, SHOW, ACKNOWLEDGE]),
};
