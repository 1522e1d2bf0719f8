//! Middleware names to chains.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::report::{Fault, known_names, qualify};
use super::service::Services;
use crate::balance::Service;
use crate::middleware::{Chain, LONGEST, Link, Spec, Step};
use crate::model::{Desired, Items, Name, Provider, Sourced};
use crate::problem::{Code, Problem};

/// Deepest nesting of `chain`s.
const DEEPEST: usize = 64;

/// Builds chains; tells a middleware that can't be built once.
pub(super) struct Middlewares<'a> {
    specs: &'a Items<Spec>,
    before: &'a Items<Spec>,
    workers: usize,
    unchanged: HashMap<&'a Name, bool>,
    /// Those at fault.
    faults: BTreeMap<Name, Fault>,
}

/// A router's middlewares, unfolded: every name met on the way, and those that do something.
#[derive(Default)]
struct Unfolded<'a> {
    met: Vec<&'a Name>,
    steps: Vec<(&'a Name, &'a Arc<Sourced<Spec>>)>,
    /// The `chain`s that are being unfolded.
    open: Vec<&'a Name>,
}

impl<'a> Middlewares<'a> {
    pub(super) fn new(desired: &'a Desired, before: &'a Desired, workers: usize) -> Self {
        let (specs, before) = (&desired.middlewares, &before.middlewares);
        Self { specs, before, workers, unchanged: HashMap::new(), faults: BTreeMap::new() }
    }

    /// The chain of these names as written on something of `home`. The chain of `previous`
    /// is kept when it was made of the same middlewares.
    pub(super) fn chain(
        &mut self,
        names: &[String],
        home: Provider,
        previous: Option<(&Arc<Chain>, &[String])>,
        services: &mut Services<'a>,
        problems: &mut Vec<Problem>,
    ) -> Result<Arc<Chain>, Fault> {
        let mut unfolded = Unfolded::default();
        self.unfold(names, home, &mut unfolded, problems)?;
        let targets = self.services(&unfolded, services, problems)?;
        if let Some((chain, before)) = previous
            && before.iter().eq(&qualified(names, home))
            && unfolded.met.iter().all(|name| self.is_unchanged(name))
            && chain.links().len() == targets.len()
            && (chain.links().iter().zip(&targets))
                .all(|(link, now)| is_same_service(link.service.as_ref(), now.as_ref()))
        {
            return Ok(Arc::clone(chain));
        }
        let mut kept = previous.map_or(&[][..], |(chain, _)| chain.links()).to_vec();
        let mut links = Vec::with_capacity(unfolded.steps.len());
        for ((name, spec), service) in unfolded.steps.into_iter().zip(targets) {
            links.push(self.link(name, spec, service, &mut kept, problems)?);
        }
        Ok(Arc::new(Chain::new(links)))
    }

    /// The services that the middlewares name, in their order.
    fn services(
        &mut self,
        unfolded: &Unfolded<'a>,
        services: &mut Services<'a>,
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<Option<Arc<Service>>>, Fault> {
        let mut targets = Vec::with_capacity(unfolded.steps.len());
        for (name, spec) in &unfolded.steps {
            let service = match spec.value.service() {
                None => None,
                Some(reference) => match services.get(reference, name.provider(), self, problems) {
                    Ok(service) => Some(service),
                    Err(fault) => return Err(self.blame(name, spec, &fault, problems)),
                },
            };
            targets.push(service);
        }
        Ok(targets)
    }

    fn unfold(
        &mut self,
        names: &[String],
        home: Provider,
        into: &mut Unfolded<'a>,
        problems: &mut Vec<Problem>,
    ) -> Result<(), Fault> {
        for reference in names {
            let (name, spec) = self.find(reference, home)?;
            if let Some(fault) = self.faults.get(name) {
                return Err(fault.clone());
            }
            into.met.push(name);
            if into.met.len() > LONGEST || into.open.len() > DEEPEST {
                let text =
                    format!("more than {LONGEST} middlewares, or {DEEPEST} chains in chains");
                return Err(Fault::new(Code::BadValue, text).mend("use fewer middlewares"));
            }
            let Some(inner) = spec.value.chain() else {
                into.steps.push((name, spec));
                continue;
            };
            if into.open.contains(&name) {
                return Err(recursion(name, &into.open));
            }
            into.open.push(name);
            // As Traefik: a chain is at fault with what it names, and so are those around it.
            self.unfold(inner, name.provider(), into, problems)
                .map_err(|fault| self.blame(name, spec, &fault, problems))?;
            into.open.pop();
        }
        Ok(())
    }

    fn find(
        &self,
        reference: &str,
        home: Provider,
    ) -> Result<(&'a Name, &'a Arc<Sourced<Spec>>), Fault> {
        let name = Name::resolve(reference, home);
        name.and_then(|name| self.specs.get_key_value(&name)).ok_or_else(|| {
            let text = format!("middleware \"{}\" does not exist", qualify(reference, home));
            let mend = known_names(reference, home, self.specs.keys());
            Fault::new(Code::UnknownName, text).mend(mend)
        })
    }

    /// One middleware of a chain: the router's own from before, with all that it counts,
    /// where nothing about it changed.
    fn link(
        &mut self,
        name: &'a Name,
        spec: &Sourced<Spec>,
        service: Option<Arc<Service>>,
        kept: &mut Vec<Link>,
        problems: &mut Vec<Problem>,
    ) -> Result<Link, Fault> {
        let is_same = |old: &Link| {
            *old.name == *name.as_str() && is_same_service(old.service.as_ref(), service.as_ref())
        };
        if let Some(at) = kept.iter().position(is_same)
            && self.is_unchanged(name)
        {
            return Ok(kept.remove(at));
        }
        let mut step = Step::build(&spec.value, service.clone())
            .map_err(|text| self.blame(name, spec, &Fault::new(Code::BadValue, text), problems))?;
        step.place(name.as_str(), self.workers);
        Ok(Link { name: name.as_str().into(), step: Arc::new(step), service })
    }

    /// Reports a middleware's fault, once; returns it for those that use it.
    fn blame(
        &mut self,
        name: &Name,
        spec: &Sourced<Spec>,
        fault: &Fault,
        problems: &mut Vec<Problem>,
    ) -> Fault {
        if !fault.is_reported {
            problems.push(fault.problem("middleware", name, spec));
        }
        let reported = fault.clone().reported();
        self.faults.insert(name.clone(), reported.clone());
        reported
    }

    fn is_unchanged(&mut self, name: &'a Name) -> bool {
        *self.unchanged.entry(name).or_insert_with(|| {
            match (self.specs.get(name), self.before.get(name)) {
                (Some(now), Some(before)) => Arc::ptr_eq(now, before) || now.value == before.value,
                _ => false,
            }
        })
    }

    /// What is wrong with a middleware, if anything; known once all chains are built.
    pub(super) fn fault(&self, name: &Name) -> Option<&Fault> {
        self.faults.get(name)
    }
}

fn is_same_service(before: Option<&Arc<Service>>, now: Option<&Arc<Service>>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        _ => false,
    }
}

fn recursion(name: &Name, open: &[&Name]) -> Fault {
    let path = open.iter().copied().chain([name]).map(|name| format!("middleware:{name}"));
    let path = path.collect::<Vec<_>>().join("->");
    let text = format!("could not instantiate middleware {name}: recursion detected in {path}");
    Fault::new(Code::BadValue, text).mend("take the chain out of itself")
}

/// Names as written, with their providers.
pub(super) fn qualified(names: &[String], home: Provider) -> Vec<String> {
    names.iter().map(|name| qualify(name, home)).collect()
}

#[cfg(test)]
mod tests {
    use crate::compile::compile;
    use crate::compile::tests::{compiled, context, desired, outcome, router};
    use crate::model::Router;
    use crate::problem::{ContainerRef, Origin};
    use crate::table::{Status, Table};
    use crate::tree::{self, Node};

    use super::*;

    /// Middlewares of the file provider from label-like lines, and one router using `uses`.
    fn with(lines: &[(&str, &str)], uses: &[&str]) -> Desired {
        let middlewares = uses.iter().map(|&name| name.to_owned()).collect();
        let mut all = desired(&[("web", Router { middlewares, ..router("Host(`a`)") })]);
        let mut root = Node::new(Origin::Internal);
        let container = ContainerRef { name: "c".into(), id: "1".into() };
        for (key, value) in lines {
            tree::label(&mut root, &container, &format!("m.{key}"), value).unwrap();
        }
        for (key, node) in root.entries() {
            let mut problems = Vec::new();
            let value = Spec::decode(node, &mut problems).unwrap_or_else(|| panic!("{problems:?}"));
            let from = vec![Origin::Internal];
            let name = Name::new(key, Provider::File);
            all.middlewares.insert(name, Arc::new(Sourced::new(value, from)));
        }
        all
    }

    #[test]
    fn a_step_outlives_what_changes_around_it() {
        let lines = [("one.stripprefix.prefixes", "/a"), ("two.addprefix.prefix", "/b")];
        let cx = context(|_| ());
        let first = compiled(&cx, with(&lines, &["one", "two"]));
        let changed = [lines[0], ("two.addprefix.prefix", "/c")];
        let second = compile(&cx, &Arc::new(with(&changed, &["two", "one"])), &first);

        let used =
            |table: &Table| table.routes[&Name::new("web", Provider::File)].chain.links().to_vec();
        let (before, after) = (used(&first), used(&second));
        assert_eq!(
            before.iter().map(|link| &*link.name).collect::<Vec<_>>(),
            ["one@file", "two@file"]
        );
        assert!(Arc::ptr_eq(&before[0].step, &after[1].step));
        assert!(!Arc::ptr_eq(&before[1].step, &after[0].step));
    }

    #[test]
    fn a_chain_is_unfolded_in_place() {
        let lines = [
            ("all.chain.middlewares", "one,two@file"),
            ("one.stripprefix.prefixes", "/a"),
            ("two.addprefix.prefix", "/b"),
        ];
        let table = compiled(&context(|_| ()), with(&lines, &["all"]));

        assert_eq!(table.problems.len(), 0, "{:?}", table.problems);
        assert_eq!(outcome(&table, "web@file").middlewares, ["all@file"]);
        let used = |name| table.middlewares[&Name::new(name, Provider::File)].used.clone();
        assert_eq!(used("all"), ["web@file"]);
        assert!(used("one").is_empty());
    }

    #[test]
    fn a_chain_in_itself_is_named_and_only_its_router_left_out() {
        let lines = [("a.chain.middlewares", "b"), ("b.chain.middlewares", "a")];
        let table = compiled(&context(|_| ()), with(&lines, &["a"]));

        let text = "could not instantiate middleware a@file: recursion detected in \
                    middleware:a@file->middleware:b@file->middleware:a@file";
        assert_eq!(outcome(&table, "web@file").errors, [text]);
        assert_eq!(table.problems.len(), 1);
        assert_eq!(table.middlewares[&Name::new("a", Provider::File)].status, Status::Disabled);
    }

    #[test]
    fn a_chain_that_names_nothing_is_at_fault_itself() {
        let lines = [("outer.chain.middlewares", "inner"), ("inner.chain.middlewares", "none")];
        let table = compiled(&context(|_| ()), with(&lines, &["outer"]));

        let text = "middleware \"none@file\" does not exist";
        assert_eq!(outcome(&table, "web@file").errors, [text]);
        assert_eq!(table.problems.len(), 1, "{:?}", table.problems);
        assert_eq!(&*table.problems[0].subject, "middleware inner@file");
        for name in ["outer", "inner"] {
            assert_eq!(table.middlewares[&Name::new(name, Provider::File)].errors, [text]);
        }
    }

    #[test]
    fn a_middleware_that_cannot_be_built_is_told_once_and_its_routers_left_out() {
        let lines = [("bad.stripprefixregex.regex", "(")];
        let mut desired = with(&lines, &["bad"]);
        let web = Name::new("web", Provider::File);
        let second = Arc::clone(&desired.routers[&web]);
        desired.routers.insert(Name::new("second", Provider::File), second);
        let table = compiled(&context(|_| ()), desired);

        assert!(table.routes.is_empty());
        assert_eq!(table.problems.len(), 1, "{:?}", table.problems);
        let bad = &table.middlewares[&Name::new("bad", Provider::File)];
        assert_eq!(bad.errors, outcome(&table, "web@file").errors);
        assert_eq!(bad.used, ["second@file", "web@file"]);
    }

    #[test]
    fn a_missing_middleware_is_met_with_the_nearest_name() {
        let table = compiled(&context(|_| ()), with(&[("auth.addprefix.prefix", "/")], &["auht"]));

        assert_eq!(&*table.problems[0].text, "middleware \"auht@file\" does not exist");
        assert_eq!(table.problems[0].mend.as_deref(), Some("did you mean `auth@file`?"));
    }

    #[test]
    fn the_chain_stays_until_one_of_its_middlewares_changes() {
        let cx = context(|_| ());
        let made = |prefix: &str, before: &Table| {
            let lines = [("all.chain.middlewares", "one"), ("one.addprefix.prefix", prefix)];
            compile(&cx, &Arc::new(with(&lines, &["all"])), before)
        };
        let chain = |table: &Table| Arc::clone(&table.routes.values().next().unwrap().chain);
        let first = made("/a", &Table::default());
        let same = made("/a", &first);
        let other = made("/b", &same);

        assert!(Arc::ptr_eq(&chain(&first), &chain(&same)));
        assert!(!Arc::ptr_eq(&chain(&same), &chain(&other)));
    }
}
