/// Labelled pictures or texts that commands measure models on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/common.h"
#include "cli/domain.h"

namespace graft::cli {

/// Which examples, and how they go through a model.
struct Labelled {
  std::string data;
  DomainFlags domain;
  std::string on_bad_image = "fail", precision = "float32";
  std::int64_t batch = 32;
};
void add_labelled_options(CLI::App& app, Labelled& labelled);
/// The model's classes: a folder for each, or of texts a CSV file.
std::unique_ptr<Dataset> open(const Labelled& labelled, const Model& model, const Common& common);

/// --tta, --augment, --bootstrap and --seed of commands that evaluate.
struct Measuring {
  std::string tta, augment = "crop=0.6,hflip";
  std::int64_t bootstrap = 1000;
  std::uint64_t seed = 0;
};
void add_measuring_options(CLI::App& app, Measuring& measuring);
/// With progress shown under `title`.
EvaluateOptions evaluate_options(const Labelled& labelled, const Measuring& measuring, const Common& common,
                                 Progress& progress, const std::string& title);

}  // namespace graft::cli
