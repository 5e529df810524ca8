//! Controllers against model stores: what they make of them, in simulated time.
//!
//! A store here has so many servers; it refuses what comes on top, or lets it wait. A client has far more work than either can take, and
//! waits after a refusal as the retries do.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    reason = "shares and microseconds of a simulation"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::control::{Control, Era, Outcome};

const MS: u64 = 1_000;
/// As [`crate::retry::Backoff`] has it.
const BACKOFF_MAX: u64 = 500 * MS;
/// How long a store takes to say no.
const REFUSAL: u64 = MS;

#[derive(Debug, Clone, Copy)]
enum Store {
    /// 503 to whatever comes while all servers are busy.
    Refuses,
    /// First come, first served.
    Queues,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Served { client: usize, era: Era, under_way: usize, sent: u64 },
    Refused { client: usize, era: Era, under_way: usize },
    Woken { client: usize },
}

#[derive(Debug)]
struct Client {
    control: Control,
    ready: usize,
    under_way: usize,
    done: u64,
    refused: u64,
    /// Sum of the limit at each answer, for its mean.
    limits: u64,
}

struct World {
    store: Store,
    servers: usize,
    service: u64,
    busy: usize,
    /// When each server is free, of a store that queues.
    free_at: BinaryHeap<Reverse<u64>>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    clients: Vec<Client>,
    now: u64,
    draws: u64,
}

impl World {
    fn new(store: Store, servers: usize, service: u64, clients: usize) -> Self {
        let client = || Client {
            control: Control::new(256),
            ready: 400,
            under_way: 0,
            done: 0,
            refused: 0,
            limits: 0,
        };
        Self {
            store,
            servers,
            service,
            busy: 0,
            free_at: (0..servers).map(|_| Reverse(0)).collect(),
            events: BinaryHeap::new(),
            clients: (0..clients).map(|_| client()).collect(),
            now: 0,
            draws: 0,
        }
    }

    /// In `0..below`, evenly: a multiplicative congruential generator is enough here.
    fn draw(&mut self, below: u64) -> u64 {
        self.draws =
            self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.draws >> 33) % below.max(1)
    }

    /// Exponential, as uneven as it comes.
    fn service_time(&mut self) -> u64 {
        let draw = (self.draw(1 << 30) + 1) as f64 / (1 << 30) as f64;
        (self.service as f64 * -draw.ln()) as u64
    }

    fn schedule(&mut self, at: u64, event: Event) {
        let order = self.draw(1 << 30);
        self.events.push(Reverse((at, order, event)));
    }

    fn send(&mut self, client: usize) {
        let sender = &mut self.clients[client];
        sender.ready -= 1;
        sender.under_way += 1;
        let (era, under_way, sent) = (sender.control.era(), sender.under_way, self.now);
        let served = Event::Served { client, era, under_way, sent };
        match self.store {
            Store::Refuses if self.busy >= self.servers => {
                self.schedule(self.now + REFUSAL, Event::Refused { client, era, under_way });
            }
            Store::Refuses => {
                self.busy += 1;
                let at = self.now + self.service_time();
                self.schedule(at, served);
            }
            Store::Queues => {
                let free_at = self.free_at.pop().map_or(self.now, |Reverse(at)| at.max(self.now));
                let at = free_at + self.service_time();
                self.free_at.push(Reverse(at));
                self.schedule(at, served);
            }
        }
    }

    fn run(&mut self, until: Duration) {
        let until = u64::try_from(until.as_micros()).expect("a simulated time");
        loop {
            let first = usize::try_from(self.draw(self.clients.len() as u64)).expect("an index");
            for offset in 0..self.clients.len() {
                let client = (first + offset) % self.clients.len();
                while self.clients[client].ready > 0
                    && self.clients[client].under_way < self.clients[client].control.limit()
                {
                    self.send(client);
                }
            }
            let Some(Reverse((at, _, event))) = self.events.pop() else { return };
            if at > until {
                self.events.push(Reverse((at, 0, event)));
                self.now = until;
                return;
            }
            self.now = at;
            match event {
                Event::Served { client, era, under_way, sent } => {
                    self.busy = self.busy.saturating_sub(1);
                    let latency = Duration::from_micros(at - sent);
                    let client = &mut self.clients[client];
                    client.ready += 1;
                    client.under_way -= 1;
                    client.done += 1;
                    client.control.observe(era, under_way, Outcome::Answered { latency, bytes: 4096 });
                    client.limits += client.control.limit() as u64;
                }
                Event::Refused { client, era, under_way } => {
                    let wake_at = at + self.draw(BACKOFF_MAX);
                    self.schedule(wake_at, Event::Woken { client });
                    let client = &mut self.clients[client];
                    client.under_way -= 1;
                    client.refused += 1;
                    client.control.observe(era, under_way, Outcome::Throttled);
                }
                Event::Woken { client } => self.clients[client].ready += 1,
            }
        }
    }

    fn forget(&mut self) {
        for client in &mut self.clients {
            (client.done, client.refused, client.limits) = (0, 0, 0);
        }
    }

    /// Work done, of what the servers could have done in that time.
    fn share_used(&self, time: Duration) -> f64 {
        let done: u64 = self.clients.iter().map(|client| client.done).sum();
        done as f64 * self.service as f64 / (self.servers as f64 * time.as_micros() as f64)
    }

    fn share_refused(&self) -> f64 {
        let (done, refused) = self
            .clients
            .iter()
            .fold((0, 0), |(done, refused), client| (done + client.done, refused + client.refused));
        refused as f64 / (done + refused) as f64
    }
}

const WARM_UP: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_mins(2);

fn settled(store: Store, servers: usize, service: u64, clients: usize) -> World {
    let mut world = World::new(store, servers, service, clients);
    world.run(WARM_UP);
    world.forget();
    world.run(WARM_UP + MEASURED);
    world
}

#[test]
fn a_store_that_refuses_is_used_to_four_fifths_and_seldom_has_to_refuse() {
    for servers in [1, 4, 8, 20, 64, 150] {
        for service in [20 * MS, 100 * MS] {
            let world = settled(Store::Refuses, servers, service, 1);
            let (used, refused) = (world.share_used(MEASURED), world.share_refused());
            assert!(used > 0.8, "{servers} servers, {service} µs: {used:.3} used, {refused:.4} refused");
            assert!(refused < 0.03, "{servers} servers, {service} µs: {used:.3} used, {refused:.4} refused");
        }
    }
}

#[test]
fn no_storm_of_refusals_at_the_start() {
    for servers in [4, 20, 100] {
        let mut world = World::new(Store::Refuses, servers, 20 * MS, 1);
        world.run(WARM_UP);
        let refused = world.clients[0].refused;
        assert!(refused <= servers as u64 + 16, "{servers} servers refused {refused} times");
    }
}

#[test]
fn a_store_that_lets_requests_wait_is_busy_and_its_queue_short() {
    for servers in [8, 20, 64] {
        let world = settled(Store::Queues, servers, 20 * MS, 1);
        let client = &world.clients[0];
        let mean_limit = client.limits as f64 / client.done as f64;
        let used = world.share_used(MEASURED);
        assert!(used > 0.95, "{servers} servers: {used:.3} used");
        assert!(mean_limit < 4.0 * servers as f64, "{servers} servers: {mean_limit:.0} under way");
    }
}

#[test]
fn clients_share_fairly_whoever_came_first() {
    for (store, count) in [(Store::Refuses, 2), (Store::Refuses, 4)] {
        let mut world = World::new(store, 60, 20 * MS, count);
        // The first has everything for itself for a while.
        for client in &mut world.clients[1..] {
            client.ready = 0;
        }
        world.run(Duration::from_secs(20));
        for client in &mut world.clients[1..] {
            client.ready = 400;
        }
        world.run(Duration::from_mins(2));
        world.forget();
        world.run(Duration::from_mins(5));
        let done: Vec<f64> = world.clients.iter().map(|client| client.done as f64).collect();
        // Jain's index: 1 when all have the same, 1/n when one has everything.
        let fairness = done.iter().sum::<f64>().powi(2)
            / (count as f64 * done.iter().map(|done| done * done).sum::<f64>());
        assert!(fairness > 0.9, "{count} clients: {fairness:.3}, {done:?}");
        assert!(world.share_refused() < 0.03, "{:.4}", world.share_refused());
    }
}
