/// How a Trainer trains, and for how long.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <graft/device.h>
#include <graft/error.h>
#include <graft/history.h>
#include <graft/optimizer.h>
#include <graft/schedule.h>

namespace graft {

class Communicator;

/// What the frozen part of a network yields for a picture is computed once and kept, so that later epochs cost the rest
/// alone and read no picture. On wherever that is exact: the data is not augmented and not mixed, and says what it is
/// made of (Dataset::content_id). Each value is kept under the picture's content, the preprocessing, the frozen weights
/// and operations, the precision and the versions: what has changed is computed anew.
struct FeatureCacheOptions {
  bool enabled = true;
  /// Where to keep it, for other runs too; empty: in memory, for one fit.
  std::filesystem::path directory = {};
  /// In memory, or of all caches in the directory: what was unused for longest goes, then nothing more is kept.
  std::int64_t max_bytes = std::int64_t{1} << 30;
  /// On CUDA, in the device's memory, beside that: half of what is free when training begins if it is not given.
  std::optional<std::int64_t> max_device_bytes = {};
  /// Above 0: augmented data repeats its changes after this many epochs, so that it can be kept as well.
  std::int64_t augmented_variants = 0;
};

/// Parameters that train in a way of their own.
struct ParameterGroup {
  std::string layers;                       ///< a name or pattern as Model::freeze takes it
  double rate = 1;                          ///< times the optimiser's learning rate
  std::optional<double> weight_decay = {};  ///< instead of the optimiser's
};

/// What is done about classes of different size.
enum class ClassBalance {
  kNone,
  kWeights,   ///< each class weighs size / (classes * its size): scikit-learn's "balanced"
  kSampling,  ///< an epoch draws as many examples as there are, each class equally likely, with repetitions
};

/// How a Trainer trains.
struct TrainerOptions {
  OptimizerSpec optimizer = Adam{};
  Numerics numerics = Numerics::kTorch;
  /// kFloat32, kBFloat16 or kFloat16. In float16 the loss is scaled as torch.amp.GradScaler scales it by default: by
  /// 65536 at first, by half as much after gradients that are not finite, whose step is left out (schedules count it),
  /// by twice as much after 2000 steps in a row. A scale below 2^-14 is an Error kNumeric.
  Precision precision = Precision::kFloat32;
  Schedule schedule = {};  ///< of the learning rate
  /// The first that covers a parameter counts; the others train as the optimiser says.
  std::vector<ParameterGroup> groups = {};
  /// The rate of a stage n stages before the head is times this to the power of n, as timm's layer_decay.
  double layer_decay = 1;
  /// False: biases and norms, of one dimension, are spared weight decay, as timm's filter_bias_and_bn does.
  bool decay_one_dimensional = true;
  /// Gradients are scaled to at most this norm of all together (torch's clip_grad_norm_), then cut to at most this size
  /// each (clip_grad_value_); 0: off.
  double clip_norm = 0;
  double clip_value = 0;  ///< the same, each
  /// Batches whose gradients are averaged for one step; schedules count steps.
  std::int64_t accumulate = 1;
  /// Above 0: what is validated, restored and left in the model is the exponential moving average of the weights,
  /// average = decay * average + (1 - decay) * weight after every step (Keras' use_ema, timm's ModelEma).
  double ema_decay = 0;
  ClassBalance balance = ClassBalance::kNone;
  /// One for each class, instead of the balance's: of the loss, whose mean PyTorch takes over the weights, Keras over
  /// the examples. For a model with one task of single labels.
  std::vector<double> class_weights = {};
  double label_smoothing = 0;  ///< this much of each target is spread over all classes (torch's and Keras' definition)
  /// Blends of two examples (arXiv:1710.09412, arXiv:1905.04899), the share from Beta(alpha, alpha); 0: off. With both
  /// on, each batch gets one of them. The training accuracy then counts the larger share's class.
  double mixup_alpha = 0;
  double cutmix_alpha = 0;
  std::uint64_t seed = 0;  ///< of shuffling, augmentation, mixing and dropout
  FeatureCacheOptions feature_cache = {};
  WarningCallback on_warning = {};
};

/// A part of a fit with its own frozen layers. The optimiser and the schedule begin anew with it.
struct Phase {
  std::string freeze = {};  ///< for Model::apply_freeze; empty: what is frozen stays
  std::int64_t epochs = 1;
  double rate = 1;                         ///< times the optimiser's learning rate
  std::optional<double> layer_decay = {};  ///< instead of TrainerOptions::layer_decay
  std::optional<Schedule> schedule = {};   ///< instead of TrainerOptions::schedule
};

/// When a fit ends before its last epoch.
struct EarlyStopping {
  std::int64_t patience = 0;  ///< epochs without a better one; 0: never
  double min_delta = 0;       ///< how much better the loss (or the accuracy) has to be
  bool by_accuracy = false;   ///< instead of by loss; of validation, or of training where nothing is validated
};

/// What is written so that a killed run goes on: in two files in turn, each whole or not there. The continued run
/// equals an undisturbed one bit for bit on the CPU. The feature cache, where it is on and has no folder of its own,
/// is kept there as well.
struct CheckpointOptions {
  std::filesystem::path directory = {};  ///< made if need be; empty: nothing is written
  std::int64_t every_steps = 0;          ///< besides the ends of epochs; 0: at those alone
  bool resume = false;                   ///< go on from the newest whole file; without one from the beginning
};

/// How long a fit runs, and on which batches.
struct FitOptions {
  std::int64_t epochs = 1;
  std::vector<Phase> phases = {};  ///< instead of `epochs`: see graft/recipe.h
  /// Batches per epoch; 0: once through the data. As in Keras the data continues across epochs; an epoch that runs out
  /// of it ends early, with a warning, and the next one starts the data over in a new order.
  std::int64_t steps_per_epoch = 0;
  std::int64_t batch_size = 32;
  bool shuffle = true;
  int loader_threads = 2;
  EarlyStopping early_stopping = {};
  CheckpointOptions checkpoint = {};
  /// The processes that train this together (graft/communicator.h), with the same model, data and options, which is
  /// checked; null: this one alone. batch_size is that of all of them together; gradients are averaged over its
  /// examples before every step, scores and validation are of all. Batch norm that trains has the statistics of a
  /// process's own part, and running averages are averaged over the processes after every step. Mixing and dropout draw
  /// for each process apart. The feature cache is each process's own, checkpoints are written by rank 0. Must outlive
  /// the fit.
  Communicator* processes = nullptr;
  /// Ends the run after the step it is in, with a checkpoint where there is a directory for it.
  std::stop_token stop = {};
  std::function<void(const StepInfo&)> on_step = {};
  std::function<void(const EpochInfo&)> on_epoch = {};  ///< the model has the weights that were validated
};

}  // namespace graft
