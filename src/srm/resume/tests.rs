#![expect(
    clippy::excessive_nesting,
    reason = "an explorer visits every side of every pair of every state"
)]

mod explorer;
mod model;
mod mutations;
mod rules;
mod steps;
mod wander;
mod world;
