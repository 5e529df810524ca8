//! A model of a whole deployment before random programs: two stores, the events function, a queue, workers and the reconciler, with time
//! that only the test moves.
//!
//! Owns: the programs, their replay, and what must hold: the destination never holds bytes that no generation of that key had; it never
//! loses an object that the source had all the while; where every event arrived at least once the sides agree once the queue is empty; and once one pass of the reconciler is done, both sides are
//! equal. Events are lost, repeated, delayed and reordered, calls fail or lose their answers, and whoever works is killed at any moment.
//!
//! A few hundred programs run with the tests; `FERRY_MODEL_PROGRAMS=5000` makes them more, `FERRY_MODEL_SEED=7` runs the one that failed.

mod program;
mod world;

use program::Program;
use world::World;

const PROGRAMS: u64 = 300;

#[test]
fn whatever_becomes_of_events_and_workers_the_two_sides_agree_in_the_end() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("FERRY_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FERRY_MODEL_PROGRAMS").unwrap_or(PROGRAMS),
    };
    let programs = seeds.end - seeds.start;
    let mut done = world::Deeds::default();
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let program = Program::random(seed);
        match runtime.block_on(World::run(&program, seed)) {
            Ok(deeds) => done += deeds,
            Err(problem) => panic!("FERRY_MODEL_SEED={seed}: {problem}\n{program:#?}"),
        }
    }
    println!("{programs} programs: {done:?}");
    // What is never tried is not tested.
    if programs >= PROGRAMS {
        assert!(done.is_rich(), "{done:?}");
    }
}
