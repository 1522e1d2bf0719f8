use std::time::{Duration, SystemTime};

use super::tests::{container, decoder, routers, services, texts, with};
use super::*;
use crate::labels::name;

const WEB: &str = "traefik.http.routers.web.rule";
const MIDDLEWARE: &str = "traefik.http.middlewares.auth.basicauth.users";

/// A container of a Compose project's service `app`; its router is called `web`.
fn of(project: &str, n: u8, more: &[(&str, &str)]) -> Container {
    let rule = format!("Host(`{project}.test`)");
    let labels = [
        (name::PROJECT, project),
        (name::SERVICE, "app"),
        (name::GENERATION, "1"),
        (WEB, rule.as_str()),
    ];
    container(&format!("{project}-{n}"), n, &[&labels, more].concat())
}

fn update(decoder: &mut Decoder, container: &Container) {
    decoder.update(&Arc::new(container.clone()));
}

fn end(decoder: &mut Decoder, container: &Container) {
    update(decoder, &Container { state: ReplicaState::Gone, ..container.clone() });
}

/// Whose router `web` is.
fn host(decoder: &mut Decoder) -> String {
    let desired = decoder.desired();
    desired.routers.values().map(|router| router.value.rule.clone()).collect()
}

const SHOP: &str = "Host(`shop.test`)";
const THIEF: &str = "Host(`aaa.test`)";

#[test]
fn at_the_start_the_older_container_has_the_name_and_later_whoever_had_it() {
    let (shop, thief) = (of("shop", 2, &[]), of("aaa", 3, &[]));
    assert_eq!(host(&mut decoder(&[thief.clone(), shop.clone()])), SHOP);

    // Made before, started after.
    let early = Container { created: Some(SystemTime::UNIX_EPOCH), ..thief.clone() };
    let mut decoder = decoder(std::slice::from_ref(&shop));
    assert_eq!(host(&mut decoder), SHOP);
    update(&mut decoder, &early);
    assert_eq!(host(&mut decoder), SHOP);
    assert_eq!(decoder.desired().problems.len(), 1);

    // A restart of the claimant changes nothing.
    end(&mut decoder, &early);
    assert!(decoder.desired().problems.is_empty());
    update(&mut decoder, &early);
    assert_eq!(host(&mut decoder), SHOP);
}

#[test]
fn an_owner_that_is_recreated_keeps_its_name() {
    let shop = of("shop", 2, &[]);
    let mut decoder = decoder(&[shop.clone(), of("aaa", 3, &[])]);
    assert_eq!(host(&mut decoder), SHOP);

    update(&mut decoder, &Container { state: ReplicaState::Stopping, ..shop.clone() });
    assert_eq!(host(&mut decoder), SHOP);
    end(&mut decoder, &shop);
    assert_eq!(host(&mut decoder), SHOP);
    assert!(decoder.is_last("shop-2-id"), "the claimant is nobody's successor");
    update(&mut decoder, &of("shop", 9, &[]));
    decoder.remove("shop-2-id");
    assert_eq!(host(&mut decoder), SHOP);
    assert_eq!(services(&decoder.desired())[1], "app-shop@docker: http://10.0.0.9:80");
}

#[test]
fn one_that_has_not_run_for_long_lends_its_name_until_it_runs_again() {
    let shop = of("shop", 2, &[]);
    let mut decoder = decoder(&[shop.clone(), of("aaa", 3, &[])]);
    assert_eq!(host(&mut decoder), SHOP);
    end(&mut decoder, &shop);
    assert!(decoder.rest("shop-2-id"));
    assert!(!decoder.rest("shop-2-id"));
    assert_eq!(host(&mut decoder), THIEF);

    update(&mut decoder, &shop);
    assert_eq!(host(&mut decoder), SHOP);

    // Removed and not kept: the claim is gone with it.
    decoder.remove("shop-2-id");
    assert_eq!(host(&mut decoder), THIEF);
    update(&mut decoder, &shop);
    assert_eq!(host(&mut decoder), THIEF);
}

#[test]
fn without_compose_who_comes_after_the_end_of_the_first_is_its_successor() {
    let mut decoder = decoder(&[plain("old", 2), of("shop", 3, &[])]);
    assert_eq!(host(&mut decoder), "Host(`old.test`)");
    end(&mut decoder, &plain("old", 2));
    assert_eq!(host(&mut decoder), "Host(`old.test`)", "who waited for it is no successor");
    decoder.remove("shop-3-id");

    update(&mut decoder, &plain("new", 4));
    assert_eq!(host(&mut decoder), "Host(`new.test`)");
}

/// A container without Compose.
fn plain(name: &str, n: u8) -> Container {
    container(name, n, &[(WEB, &format!("Host(`{name}.test`)"))])
}

/// One of the services of a project, that has a router with the other ones' name.
fn service(name: &str, n: u8) -> Container {
    let mut one = of("shop", n, &[(name::SERVICE, name)]);
    one.labels.insert(WEB.to_owned(), format!("Host(`{name}.test`)"));
    one
}

fn is(container: &Container, state: ReplicaState) -> Container {
    Container { state, ..container.clone() }
}

#[test]
fn what_takes_an_owners_place_in_its_project_has_its_name_as_soon_as_it_stops() {
    use ReplicaState::{Paused, Running, Starting, Stopping, Unhealthy};
    let made: [fn(&str, u8) -> Container; 2] = [plain, service];
    for made in made {
        let (blue, green) = (made("blue", 2), made("green", 4));
        let mut decoder = decoder(&[blue.clone(), of("aaa", 3, &[])]);
        update(&mut decoder, &is(&green, Starting));
        for state in [Running, Unhealthy, Paused, Starting, Running] {
            update(&mut decoder, &is(&blue, state));
            assert_eq!(host(&mut decoder), "Host(`blue.test`)", "{state:?}");
        }
        update(&mut decoder, &green);
        assert_eq!(host(&mut decoder), "Host(`blue.test`)");

        update(&mut decoder, &is(&blue, Stopping));
        assert_eq!(host(&mut decoder), "Host(`green.test`)");
        end(&mut decoder, &blue);
        assert_eq!(host(&mut decoder), "Host(`green.test`)");

        // The old one is started again: it follows when the new one ends, and not before.
        update(&mut decoder, &blue);
        assert_eq!(host(&mut decoder), "Host(`green.test`)");
        end(&mut decoder, &green);
        assert_eq!(host(&mut decoder), "Host(`blue.test`)");
        // Nobody of the project runs: the last one is awaited, also when others wait.
        end(&mut decoder, &blue);
        assert_eq!(host(&mut decoder), "Host(`blue.test`)");
        update(&mut decoder, &green);
        assert_eq!(host(&mut decoder), "Host(`green.test`)");
    }
}

#[test]
fn one_that_comes_after_the_end_of_another_of_its_project_has_the_name_from_then_on() {
    let (blue, green) = (service("blue", 2), service("green", 4));
    let mut decoder = decoder(std::slice::from_ref(&blue));
    assert_eq!(host(&mut decoder), "Host(`blue.test`)");
    end(&mut decoder, &blue);
    decoder.rest("shop-2-id");
    update(&mut decoder, &green);
    assert_eq!(host(&mut decoder), "Host(`green.test`)");
    update(&mut decoder, &blue);
    assert_eq!(host(&mut decoder), "Host(`green.test`)");
}

#[test]
fn what_was_lent_goes_back_to_its_owner_only() {
    let (blue, green) = (service("blue", 2), service("green", 4));
    let mut decoder = decoder(&[blue.clone(), of("aaa", 3, &[])]);
    assert_eq!(host(&mut decoder), "Host(`blue.test`)");
    end(&mut decoder, &blue);
    decoder.rest("shop-2-id");
    assert_eq!(host(&mut decoder), THIEF);
    update(&mut decoder, &green);
    assert_eq!(host(&mut decoder), THIEF);
    update(&mut decoder, &blue);
    assert_eq!(host(&mut decoder), "Host(`blue.test`)");
}

#[test]
fn the_second_deploy_of_the_first_owner_still_wins() {
    let shop = of("shop", 2, &[]);
    let mut decoder = decoder(&[shop, of("aaa", 3, &[])]);
    assert_eq!(host(&mut decoder), SHOP);

    let mut next = of("shop", 5, &[]);
    next.labels.insert(name::GENERATION.to_owned(), "2".to_owned());
    next.labels.insert(WEB.to_owned(), "Host(`new.test`)".to_owned());
    update(&mut decoder, &next);
    assert_eq!(host(&mut decoder), "Host(`new.test`)");
}

#[test]
fn a_router_is_not_served_with_the_middleware_or_the_servers_of_another() {
    let mut first = of("shop", 2, &[(MIDDLEWARE, "joe:$apr1$a$b")]);
    first.labels.remove(WEB);
    let second = of(
        "blog",
        3,
        &[
            (MIDDLEWARE, "ann:$apr1$c$d"),
            ("traefik.http.routers.web.middlewares", "all"),
            ("traefik.http.middlewares.all.chain.middlewares", "auth@docker"),
            ("traefik.http.routers.free.rule", "Host(`free.test`)"),
        ],
    );
    let mut decoder = decoder(&[first, second]);
    let desired = decoder.desired();

    let rule = "Host(`app-shop`)";
    assert_eq!(
        routers(&desired),
        [
            format!("app-shop@docker: {rule} -> app-shop"),
            "free@docker: Host(`free.test`) -> app-blog".to_owned()
        ]
    );
    let names: Vec<_> = desired.middlewares.keys().map(Name::as_str).collect();
    assert_eq!(names, ["auth@docker"]);
    let told = texts(&desired);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().any(|text| {
        text.contains("router web@docker: left out with the middleware all@docker that it names")
    }));

    decoder.remove("shop-2-id");
    let desired = decoder.desired();
    assert_eq!((desired.routers.len(), desired.middlewares.len()), (2, 2));
    assert!(desired.problems.is_empty(), "{:?}", texts(&desired));
}

#[test]
fn projects_share_a_service_unless_they_are_kept_apart() {
    let port = ("traefik.http.services.pool.loadbalancer.server.port", "80");
    let both = [of("shop", 2, &[port]), of("blog", 3, &[port])];

    let shared = decoder(&both).desired();
    assert_eq!(services(&shared), ["pool@docker: http://10.0.0.3:80 http://10.0.0.2:80"]);

    let wharf = settings::Wharf { isolate_projects: true, ..Default::default() };
    let apart = with(&settings::Docker::default(), &wharf, &both).desired();
    assert_eq!(services(&apart), ["pool@docker: http://10.0.0.2:80"]);
    assert_eq!(routers(&apart), ["web@docker: Host(`shop.test`) -> pool"]);
}

#[test]
fn claims_on_different_names_are_compared_by_who_came_first() {
    let named = |name: &str, n: u8| {
        container(name, n, &[(&format!("traefik.http.routers.{name}.rule"), "Host(`x.test`)")])
    };
    let order = |decoder: &mut Decoder| {
        let desired = decoder.desired();
        let mut all: Vec<_> = desired
            .routers
            .iter()
            .map(|(name, router)| {
                let holder = router.holder.as_ref().unwrap();
                (holder.rests, holder.order, name.local().to_owned())
            })
            .collect();
        all.sort();
        all.into_iter().map(|(.., name)| name).collect::<Vec<_>>()
    };
    let mut decoder = decoder(&[named("mine", 2), named("aaa", 3)]);
    assert_eq!(order(&mut decoder), ["mine", "aaa"]);
    let early = Container { created: Some(SystemTime::UNIX_EPOCH), ..named("zero", 4) };
    update(&mut decoder, &early);
    assert_eq!(order(&mut decoder), ["mine", "aaa", "zero"]);

    let old = Container {
        created: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)),
        ..named("mine", 2)
    };
    end(&mut decoder, &old);
    assert_eq!(order(&mut decoder), ["mine", "aaa", "zero"]);
    decoder.rest("mine-id");
    assert_eq!(order(&mut decoder), ["aaa", "zero", "mine"]);
    update(&mut decoder, &old);
    assert_eq!(order(&mut decoder), ["mine", "aaa", "zero"]);
}

#[test]
fn without_a_project_a_generation_takes_no_router_and_drops_no_middleware() {
    const GENERATION: &str = "wharf.deploy.generation";
    let named = |name: &str, n: u8, id: &str| {
        let mut one = plain(name, n);
        one.labels.insert(GENERATION.to_owned(), id.to_owned());
        one
    };
    let mut old = named("old", 2, "v1");
    old.labels.insert(MIDDLEWARE.to_owned(), "joe:$apr1$a$b".to_owned());
    old.labels.insert("traefik.http.routers.web.middlewares".to_owned(), "auth".to_owned());
    let mut decoder = decoder(&[old, named("new", 4, "v2")]);

    let desired = decoder.desired();
    let router = desired.routers.values().next().unwrap();
    assert_eq!(router.value.rule, "Host(`old.test`)");
    assert_eq!(router.value.middlewares.len(), 1);
    assert_eq!(desired.problems.len(), 1, "{:?}", texts(&desired));
}

#[test]
fn a_stranger_who_joins_a_service_has_no_say_in_its_deploys() {
    let port = ("traefik.http.services.pool.loadbalancer.server.port", "80");
    let next = |project: &str, n: u8, generation: &str| {
        let mut one = of(project, n, &[port]);
        one.labels.insert(name::GENERATION.to_owned(), generation.to_owned());
        one.labels.insert("wharf.deploy.canary.percent".to_owned(), "100".to_owned());
        one
    };
    let all = [next("shop", 2, "1"), next("shop", 3, "2"), next("blog", 4, "3")];
    let desired = decoder(&all).desired();
    let ServiceKind::LoadBalancer(balancer) = &desired.services.values().next().unwrap().value.kind
    else {
        panic!("a service of containers has servers")
    };
    let mut found: Vec<_> = balancer
        .servers
        .iter()
        .map(|server| {
            let deploy = server.replica.as_ref().unwrap().deploy.as_ref();
            (server.url.as_str(), deploy.map(|deploy| &*deploy.generation))
        })
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("http://10.0.0.2:80", Some("1")),
            ("http://10.0.0.3:80", Some("2")),
            ("http://10.0.0.4:80", None)
        ]
    );
}

#[test]
fn deploys_that_are_named_are_of_one_only_within_a_project() {
    const GENERATION: &str = "wharf.deploy.generation";
    let named = |project: &str, n: u8, id: &str| {
        let mut one = of(project, n, &[(GENERATION, id)]);
        one.labels.insert(WEB.to_owned(), format!("Host(`{project}-{id}.test`)"));
        one.labels.insert(name::SERVICE.to_owned(), id.to_owned());
        one
    };
    let blue = named("shop", 2, "blue");
    let mut decoder = decoder(&[blue, named("aaa", 3, "green")]);
    assert_eq!(host(&mut decoder), "Host(`shop-blue.test`)", "a stranger is no deploy");
    let number = |decoder: &mut Decoder| decoder.desired().routers.values().next()?.holder.clone();
    let before = number(&mut decoder).unwrap();

    update(&mut decoder, &named("shop", 4, "green"));
    assert_eq!(host(&mut decoder), "Host(`shop-green.test`)");
    decoder.remove("shop-2-id");
    assert_eq!(host(&mut decoder), "Host(`shop-green.test`)");
    assert_eq!(number(&mut decoder).unwrap().order, before.order);
}
