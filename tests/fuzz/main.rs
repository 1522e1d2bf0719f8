//! Bounded fuzzing of everything that parses what strangers wrote: texts grown from seeds
//! by random edits. It asks for no panic, and for what each parser promises of its answer.
//!
//! `WHARF_FUZZ_ROUNDS` sets the texts per target (default 60,000: about ten seconds in all);
//! `WHARF_FUZZ_SEED` repeats a run. A failure prints target, seed and text.

mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use mutate::Mutator;
use targets::{TARGETS, Target};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(target: &Target) {
    let rounds = setting("WHARF_FUZZ_ROUNDS").unwrap_or(60_000);
    let seed = setting("WHARF_FUZZ_SEED").unwrap_or_else(mutate::fresh_seed);
    let mut mutator = Mutator::new(seed, target.seeds, target.words);
    for round in 0..rounds {
        let input = mutator.next_input();
        let result = catch_unwind(AssertUnwindSafe(|| (target.check)(&input)));
        if result.is_err() {
            let text = String::from_utf8_lossy(&input);
            panic!("{}: seed {seed}, round {round}, input {text:?}", target.name);
        }
    }
}

#[test]
fn no_text_makes_a_parser_panic_or_break_its_promise() {
    for target in TARGETS {
        let started = std::time::Instant::now();
        run(target);
        println!("{}: {:.1} s", target.name, started.elapsed().as_secs_f64());
    }
}
