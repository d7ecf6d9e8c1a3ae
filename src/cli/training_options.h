/// The options of commands that train: what becomes of the model, how it is trained, for how long.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/common.h"
#include "cli/domain.h"

namespace graft::cli {

struct TrainingFlags {
  ModelFile model;
  DomainFlags domain;
  std::string train, val;
  std::string cut = "features", head = "linear", freeze = "all", bn = "follow", optimizer = "adam", augment,
              numerics = "torch";
  std::string precision = "float32", on_bad_image = "fail", schedule = "constant", recipe = "plain";
  std::int64_t epochs = 5, frozen_epochs = 1, steps_per_epoch = 0, batch = 32, warmup = 0, accumulate = 1;
  double label_smoothing = 0, mixup = 0, cutmix = 0, layer_decay = 1, clip_norm = 0, clip_value = 0, ema = 0;
  std::vector<std::string> groups;
  std::string class_weights = "none", early_stopping;
  bool no_decay_1d = false, balanced_sampling = false;
  std::optional<double> learning_rate, weight_decay, momentum;
  std::optional<double> val_split;  ///< in the place of `val`
  std::uint64_t seed = 0;
  bool reduced_decoding = false;
  std::string feature_cache = "memory";
  std::uint64_t feature_cache_bytes = 1 << 30;
  std::int64_t augmented_variants = 0;
};

/// First weights as the numerics have them.
Initializer initializer(const TrainingFlags& flags);

/// What --batch auto stands for as a number.
inline constexpr std::int64_t kAutoBatch = 0;
/// `auto_batch`: the command finds the size that --batch auto asks for.
void add_training_options(CLI::App& app, TrainingFlags& flags, bool auto_batch = false);

/// Throws Error kConfig for what does not parse.
TrainerOptions trainer_options(const TrainingFlags& flags, const Common& common);
/// Without callbacks. The model has its new head.
FitOptions fit_options(const TrainingFlags& flags, const Common& common, const Model& model);

/// Both, with the training data's classes: folders of pictures, or texts.
std::pair<std::unique_ptr<Dataset>, std::unique_ptr<Dataset>> training_data(const TrainingFlags& flags,
                                                                            const Common& common);

/// The model with its new head, frozen as it should be; pictures get how they are to be decoded.
/// `loaded` sees the model before it gets the head.
Model model_to_train(const TrainingFlags& flags, const Common& common, Dataset& train, Dataset& val,
                     const std::function<void(Model&)>& loaded = {});

}  // namespace graft::cli
