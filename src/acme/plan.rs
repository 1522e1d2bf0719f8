//! What is to be ordered now, and when to look again.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Wanted;

/// A certificate on hand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// Its names, lower case, in the order they were asked for.
    pub(super) names: Vec<String>,
    /// Who made it.
    pub(super) issuer: String,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// When to renew it.
    pub(super) due: SystemTime,
}

/// How often an order for some names failed, and until when they are left alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tried {
    pub(super) failures: u32,
    pub(super) until: SystemTime,
}

/// Something to order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// What for; the main name first.
    pub(super) names: Vec<String>,
    /// It takes the place of one that is on hand.
    pub(super) is_renewal: bool,
}

/// Orders of one resolver at a time, and of them new ones or renewals at most: whatever
/// hangs, the others have a slot.
const ORDERS: usize = 5;
const OF_A_KIND: usize = ORDERS - 1;

/// Orders that are open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open {
    pub(super) new: usize,
    pub(super) renewals: usize,
}

impl Open {
    /// Whether one more may begin; counts it then.
    pub(super) fn begins(&mut self, job: &Job) -> bool {
        let all = self.new + self.renewals;
        let kind = self.of(job);
        let begins = all < ORDERS && *kind < OF_A_KIND;
        *kind += usize::from(begins);
        begins
    }

    /// One has ended.
    pub(super) fn ended(&mut self, job: &Job) {
        let kind = self.of(job);
        *kind = kind.saturating_sub(1);
    }

    fn of(&mut self, job: &Job) -> &mut usize {
        if job.is_renewal { &mut self.renewals } else { &mut self.new }
    }
}

/// What to do now.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) jobs: Vec<Job>,
    /// When something comes due, if nothing changes before.
    pub(super) wake: Option<SystemTime>,
}

/// Names as a key: their order does not matter.
pub(super) fn key(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

/// Whether a certificate for `have` is good for `name` (RFC 9525, 6.3).
pub(super) fn covers(have: &str, name: &str) -> bool {
    have == name
        || have.strip_prefix("*.").is_some_and(|parent| {
            !name.starts_with("*.") && name.split_once('.').is_some_and(|(_, rest)| rest == parent)
        })
}

/// When a certificate is to be renewed: at two thirds of its life, and a bit later by a
/// thirtieth at most, so that those that were made together are not renewed together.
pub(super) fn due(not_before: SystemTime, not_after: SystemTime, names: &[String]) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let mut spread: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in names.iter().flat_map(|name| name.bytes()) {
        spread = (spread ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let part = (life / 30).as_millis().max(1);
    let jitter = u128::from(spread) % part;
    let jitter = Duration::from_millis(u64::try_from(jitter).unwrap_or_default());
    not_before + life * 2 / 3 + jitter
}

/// How long names are left alone after that many failures in a row: five tries within the
/// first hour, then an hour, doubling up to a day.
pub(super) fn back_off(failures: u32) -> Duration {
    const MINUTE: u64 = 60;
    let minutes = match failures {
        0 | 1 => 1,
        2 => 3,
        3 => 10,
        4 => 30,
        more => 60_u64.saturating_mul(1 << (more - 5).min(5)).min(24 * 60),
    };
    Duration::from_secs(minutes * MINUTE)
}

/// How long names rest once they have a certificate that is due then: whatever a CA or the
/// clock says, the same order is not repeated over and over.
pub(super) fn rest(now: SystemTime, due: SystemTime, before: Option<&Tried>) -> Tried {
    if due > now {
        return Tried { failures: 0, until: due.min(now + Duration::from_secs(24 * 3600)) };
    }
    let failures = before.map_or(0, |tried| tried.failures).saturating_add(1);
    Tried { failures, until: now + back_off(failures) }
}

/// Compares what is wanted with what is there. `others` are names that certificates from
/// elsewhere are good for; `running` are being ordered.
pub(super) fn plan(
    now: SystemTime,
    wanted: &[Wanted],
    held: &[Held],
    others: &[String],
    running: &[Vec<String>],
    tried: &HashMap<Vec<String>, Tried>,
) -> Plan {
    let mut plan = Plan::default();
    let mut taken: Vec<String> = running.iter().flatten().cloned().collect();
    let is_good = |name: &str| {
        others.iter().any(|have| covers(have, name))
            || held
                .iter()
                .any(|one| one.not_after > now && one.names.iter().any(|have| covers(have, name)))
    };
    let mut sets: Vec<&Wanted> = wanted.iter().collect();
    // A larger set may make a smaller one needless.
    sets.sort_by_key(|set| std::cmp::Reverse(set.names.len()));
    for set in sets {
        let missing: Vec<String> = set
            .names
            .iter()
            .filter(|name| !is_good(name) && !taken.iter().any(|have| covers(have, name)))
            .cloned()
            .collect();
        if !missing.is_empty() {
            plan.add(now, Job { names: missing, is_renewal: false }, &mut taken, tried);
        }
    }
    let open: Vec<&String> = wanted
        .iter()
        .flat_map(|set| &set.names)
        .filter(|name| !others.iter().any(|have| covers(have, name)))
        .collect();
    for one in held {
        // A name that nobody wants any more may not lead here any more: it must not keep the
        // others from being renewed.
        let is_wanted = |have: &&String| open.iter().any(|name| covers(have, name));
        let names: Vec<String> = one.names.iter().filter(is_wanted).cloned().collect();
        let is_newer = |other: &Held| {
            other.not_after > one.not_after
                && names.iter().all(|name| other.names.iter().any(|have| covers(have, name)))
        };
        if names.is_empty() || held.iter().any(is_newer) {
            continue;
        }
        if one.due > now {
            plan.wake_at(one.due);
        } else if !names.iter().all(|name| taken.contains(name)) {
            plan.add(now, Job { names, is_renewal: true }, &mut taken, tried);
        }
    }
    plan
}

impl Plan {
    fn add(
        &mut self,
        now: SystemTime,
        job: Job,
        taken: &mut Vec<String>,
        tried: &HashMap<Vec<String>, Tried>,
    ) {
        match tried.get(&key(&job.names)) {
            // A clock that was put back must not keep names waiting for longer than any
            // pause is.
            Some(tried)
                if tried.until > now && tried.until < now + Duration::from_secs(2 * 24 * 3600) =>
            {
                self.wake_at(tried.until);
            }
            _ => {
                taken.extend(job.names.iter().cloned());
                self.jobs.push(job);
            }
        }
    }

    fn wake_at(&mut self, at: SystemTime) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// From seconds as certificates have them.
pub(super) fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn wanted(sets: &[&str]) -> Vec<Wanted> {
        sets.iter()
            .map(|set| Wanted {
                resolver: "le".into(),
                names: names(set),
                routers: Vec::new(),
                is_default: false,
            })
            .collect()
    }

    fn held(text: &str, from: SystemTime, life: Duration) -> Held {
        let names = names(text);
        let not_after = from + life;
        let due = due(from, not_after, &names);
        Held { due, names, issuer: String::new(), not_before: from, not_after }
    }

    fn jobs(plan: &Plan) -> Vec<(String, bool)> {
        plan.jobs.iter().map(|job| (job.names.join(" "), job.is_renewal)).collect()
    }

    #[test]
    fn what_no_certificate_covers_is_ordered_once() {
        let now = at(1_800_000_000);
        for (sets, have, others, expected) in [
            (&["a.org"][..], "", "", &["a.org"][..]),
            (&["a.org b.org"], "", "", &["a.org b.org"]),
            (&["a.org", "a.org"], "", "", &["a.org"]),
            (&["a.org", "a.org b.org"], "", "", &["a.org b.org"]),
            (&["a.org b.org"], "a.org", "", &["b.org"]),
            (&["x.a.org"], "*.a.org", "", &[]),
            (&["a.org", "y.x.a.org"], "*.a.org", "", &["a.org", "y.x.a.org"]),
            (&["*.a.org"], "", "*.a.org", &[]),
            (&["a.org"], "", "a.org", &[]),
        ] {
            let held = if have.is_empty() { vec![] } else { vec![held(have, now - DAY, 90 * DAY)] };

            let plan = plan(now, &wanted(sets), &held, &names(others), &[], &HashMap::new());

            let ordered: Vec<_> = plan.jobs.iter().map(|job| job.names.join(" ")).collect();
            assert_eq!(ordered, expected, "{sets:?} with {have:?} and {others:?}");
        }
    }

    #[test]
    fn what_is_being_ordered_is_not_ordered_again() {
        let now = at(1_800_000_000);
        let running = [names("a.org b.org")];

        let plan = plan(now, &wanted(&["a.org", "c.org"]), &[], &[], &running, &HashMap::new());

        assert_eq!(jobs(&plan), [("c.org".to_owned(), false)]);
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_while_it_is_wanted() {
        let from = at(1_800_000_000);
        for life in [90 * DAY, 6 * DAY, Duration::from_secs(60)] {
            let one = held("a.org", from, life);
            assert!(one.due >= from + life * 2 / 3 && one.due <= from + life * 7 / 10, "{life:?}");
            let sets = wanted(&["a.org"]);
            let at = |now| plan(now, &sets, std::slice::from_ref(&one), &[], &[], &HashMap::new());

            let early = at(one.due - Duration::from_millis(1));
            assert_eq!((jobs(&early), early.wake), (vec![], Some(one.due)));
            assert_eq!(jobs(&at(one.due)), [("a.org".to_owned(), true)]);
            let nobody = plan(one.due, &[], std::slice::from_ref(&one), &[], &[], &HashMap::new());
            assert_eq!(jobs(&nobody), []);
        }
    }

    #[test]
    fn a_renewal_leaves_out_names_that_nobody_wants_and_takes_the_place_of_the_old_one() {
        let from = at(1_800_000_000);
        let old = held("a.org b.org", from, 90 * DAY);
        let sets = wanted(&["a.org"]);
        let now = from + 80 * DAY;

        let first = plan(now, &sets, std::slice::from_ref(&old), &[], &[], &HashMap::new());
        assert_eq!(jobs(&first), [("a.org".to_owned(), true)]);

        let both = [old, held("a.org", now, 90 * DAY)];
        let then = plan(now, &sets, &both, &[], &[], &HashMap::new());
        assert_eq!((jobs(&then), then.wake), (vec![], Some(both[1].due)));
    }

    #[test]
    fn an_order_that_succeeds_over_and_over_rests() {
        let now = at(1_800_000_000);

        let month = rest(now, now + 60 * DAY, None);
        assert_eq!(month, Tried { failures: 0, until: now + DAY });
        assert_eq!(rest(now, now + DAY / 48, None).until, now + DAY / 48);
        // Due when it comes, for a clock that is ahead or a CA that backdates.
        let first = rest(now, now, None);
        let second = rest(now, now - DAY, Some(&first));
        assert_eq!((first.failures, first.until), (1, now + back_off(1)));
        assert_eq!((second.failures, second.until), (2, now + back_off(2)));
        // A CA that wants it renewed at once, again and again.
        let mut one = held("a.org", now, 90 * DAY);
        one.due = now;
        let tried = HashMap::from([(key(&one.names), month)]);
        let plan = plan(now, &wanted(&["a.org"]), &[one], &[], &[], &tried);
        assert_eq!(jobs(&plan), []);
    }

    #[test]
    fn an_expired_certificate_covers_nothing_and_is_ordered_once() {
        let from = at(1_800_000_000);
        let one = held("a.org", from, DAY);

        let plan = plan(from + 2 * DAY, &wanted(&["a.org"]), &[one], &[], &[], &HashMap::new());

        assert_eq!(jobs(&plan), [("a.org".to_owned(), false)]);
    }

    #[test]
    fn a_failing_name_waits_by_itself() {
        let now = at(1_800_000_000);
        let until = now + DAY;
        let tried = HashMap::from([(key(&names("b.org a.org")), Tried { failures: 6, until })]);
        let sets = wanted(&["a.org b.org", "b.org", "c.org"]);

        let first = plan(now, &sets, &[], &[], &[], &tried);
        assert_eq!(jobs(&first), [("b.org".to_owned(), false), ("c.org".to_owned(), false)]);
        assert_eq!(first.wake, Some(until));
        // A clock that was set back by a year does not make it wait a year.
        let back = plan(now - 365 * DAY, &sets, &[], &[], &[], &tried);
        assert_eq!(back.jobs[0].names, names("a.org b.org"));
    }

    #[test]
    fn new_names_never_take_all_slots_from_renewals_nor_the_other_way_round() {
        for is_renewal in [false, true] {
            let job = |is_renewal| Job { names: names("a.org"), is_renewal };
            let mut open = Open::default();

            let begun = (0..50).filter(|_| open.begins(&job(is_renewal))).count();

            assert_eq!(begun, OF_A_KIND);
            assert!(open.begins(&job(!is_renewal)));
            assert!(!open.begins(&job(!is_renewal)) && !open.begins(&job(is_renewal)));
            open.ended(&job(!is_renewal));
            assert!(!open.begins(&job(is_renewal)) && open.begins(&job(!is_renewal)));
        }
    }

    #[test]
    fn pauses_grow_from_a_minute_to_a_day() {
        let minutes: Vec<_> = (1..=12).map(|failures| back_off(failures).as_secs() / 60).collect();

        assert_eq!(minutes, [1, 3, 10, 30, 60, 120, 240, 480, 960, 1440, 1440, 1440]);
        // C3: five failures within the first hour.
        assert!(minutes[..4].iter().sum::<u64>() < 60);
    }
}
