mod de;
mod file;
mod layers;
mod mistake;
mod problem;
mod tree;
