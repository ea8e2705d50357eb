mod explorer;
mod model;
mod mutations;
mod rules;
mod steps;
mod wander;
mod world;
