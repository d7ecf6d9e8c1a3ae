#include "cli/training_options.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>

#include "cli/numbers.h"

namespace graft::cli {

namespace {

constexpr const char* kInMemory = "memory";
constexpr const char* kKeepHead = "keep";

double number(const std::string& text, const std::string& what) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(ErrorCode::kConfig, what + ": expected a number, found \"" + text + "\"");
  return value;
}

std::vector<std::string> parts(const std::string& text, char separator) {
  std::vector<std::string> found(1);
  for (const char c : text) {
    if (c == separator) {
      found.emplace_back();
    } else {
      found.back() += c;
    }
  }
  return found;
}

/// "PATTERN=RATE[,DECAY]".
ParameterGroup group(const std::string& text) {
  const auto equals = text.rfind('=');
  const auto numbers = parts(equals == std::string::npos ? "" : text.substr(equals + 1), ',');
  if (equals == std::string::npos || equals == 0 || numbers.size() > 2)
    throw Error(ErrorCode::kConfig, "--group: expected LAYERS=RATE[,WEIGHT DECAY], found \"" + text + "\"");
  ParameterGroup group{text.substr(0, equals), number(numbers[0], "--group")};
  if (numbers.size() == 2) group.weight_decay = number(numbers[1], "--group");
  return group;
}

/// "PATIENCE[:MIN_DELTA][:accuracy]".
EarlyStopping early_stopping(const std::string& text) {
  EarlyStopping stopping;
  if (text.empty()) return stopping;
  auto fields = parts(text, ':');
  if (fields.back() == "accuracy") {
    stopping.by_accuracy = true;
    fields.pop_back();
  }
  if (fields.empty() || fields.size() > 2)
    throw Error(ErrorCode::kConfig, "--early-stopping: expected EPOCHS[:DELTA][:accuracy], found \"" + text + "\"");
  const double patience = number(fields[0], "--early-stopping");
  if (!(patience >= 1 && patience <= 1e9 && patience == static_cast<double>(static_cast<std::int64_t>(patience))))
    throw Error(ErrorCode::kConfig, "--early-stopping: expected a number of epochs, found \"" + fields[0] + "\"");
  stopping.patience = static_cast<std::int64_t>(patience);
  if (fields.size() == 2) stopping.min_delta = number(fields[1], "--early-stopping");
  if (!(stopping.min_delta >= 0 && std::isfinite(stopping.min_delta)))
    throw Error(ErrorCode::kConfig, "--early-stopping: expected a change of 0 or more, found \"" + fields[1] + "\"");
  return stopping;
}

OptimizerSpec optimizer(const TrainingFlags& flags) {
  auto spec = parse_optimizer(flags.optimizer, flags.learning_rate);
  std::visit(
      [&](auto& o) {
        if (flags.weight_decay) o.weight_decay = *flags.weight_decay;
        if (!flags.momentum) return;
        if constexpr (requires { o.momentum; })
          o.momentum = *flags.momentum;
        else
          throw Error(ErrorCode::kConfig, "--momentum: expected --optimizer sgd or rmsprop, found " + flags.optimizer +
                                              ", whose momentum is its own");
      },
      spec);
  return spec;
}

/// The training data in two where --val-split asks for it; else validation data that `open` opens.
template <class Data, class Open>
std::pair<std::unique_ptr<Dataset>, std::unique_ptr<Dataset>> with_validation(const TrainingFlags& flags,
                                                                              std::unique_ptr<Data> train,
                                                                              const Open& open) {
  if (flags.val_split) {
    auto [first, second] = train->split(*flags.val_split, flags.seed);
    return {std::make_unique<Data>(std::move(first)), std::make_unique<Data>(std::move(second))};
  }
  auto val = open(train->classes());
  return {std::move(train), std::move(val)};
}

void set_class_weights(const TrainingFlags& flags, TrainerOptions& options) {
  if (flags.balanced_sampling) options.balance = ClassBalance::kSampling;
  if (flags.class_weights == "none") return;
  if (flags.class_weights == "balanced") {
    if (flags.balanced_sampling)
      throw Error(ErrorCode::kConfig, "--class-weights balanced and --balanced-sampling: one of them, not both");
    options.balance = ClassBalance::kWeights;
    return;
  }
  for (const auto& text : parts(flags.class_weights, ','))
    options.class_weights.push_back(number(text, "--class-weights"));
}

FeatureCacheOptions feature_cache(const TrainingFlags& flags) {
  FeatureCacheOptions options;
  options.enabled = flags.feature_cache != "off";
  if (options.enabled && flags.feature_cache != kInMemory) options.directory = flags.feature_cache;
  options.max_bytes = static_cast<std::int64_t>(
      std::min<std::uint64_t>(flags.feature_cache_bytes, std::numeric_limits<std::int64_t>::max()));
  options.augmented_variants = flags.augmented_variants;
  return options;
}

/// A head that is kept was trained for these classes in this order, or its outputs mean something else.
void check_same_classes(const Model& model, const Dataset& data) {
  const auto& labels = model.labels();
  const bool same = std::equal(labels.begin(), labels.end(), data.classes().begin(), data.classes().end(),
                               [](const Label& label, const std::string& name) { return label.id == name; });
  if (!same)
    throw Error(ErrorCode::kMismatch,
                "--head keep: the model's classes are not those of the training folder; give it a new head");
}

void add_model_part(CLI::App& app, TrainingFlags& f) {
  add_model_options(app, f.model);
  app.add_option("--train", f.train,
                 "folder with a folder of pictures, or texts, for each class; or a CSV file of texts")
      ->required();
  auto* val = app.add_option("--val", f.val, "the same classes, other pictures or texts");
  app.add_option("--val-split", f.val_split,
                 "in the place of --val: this part of each class of --train, drawn with --seed, is validated on and "
                 "not trained on")
      ->check(number_that([](double value) { return value > 0 && value < 1; }, "above 0 and below 1", "0 < NUMBER < 1"))
      ->excludes(val);
  add_domain(app, f.domain);
  app.add_option("--cut", f.cut, "where the old head ends: features, penultimate or a layer's name")
      ->capture_default_str();
  app.add_option("--head", f.head,
                 "linear, cosine, mlp:WIDTH[,WIDTH...], with a pooling before it if not the average (gem+linear; max, "
                 "average_max, attention), or keep: train the one there is further")
      ->capture_default_str();
  app.add_option("--freeze", f.freeze, "all, none, until:LAYER or stages:N")->capture_default_str();
  app.add_option("--bn", f.bn, "batch norm: follow, inference or train")->capture_default_str();
}

CLI::Validator at_least_one_or_auto() {
  return {[](std::string& text) {
            if (text != "auto") return at_least_one()(text);
            text = std::to_string(kAutoBatch);
            return std::string();
          },
          "INT >= 1 or auto"};
}

void add_batch(CLI::App& app, TrainingFlags& f, bool auto_batch) {
  auto* option = app.add_option("--batch", f.batch, "pictures in a batch");
  if (auto_batch) {
    option
        ->description(
            "pictures in a batch; auto: the most of 2, 4, 8 and so on for which there is memory, on the CPU up to 64, "
            "and no more than there are")
        ->transform(at_least_one_or_auto());
  } else {
    option->check(at_least_one());
  }
  option->capture_default_str();
}

void add_duration_part(CLI::App& app, TrainingFlags& f, bool auto_batch) {
  app.add_option("--epochs", f.epochs, "times through the data")->check(at_least_one())->capture_default_str();
  app.add_option(
         "--recipe", f.recipe,
         "plain; fine-tune: the head alone, then all of it with rates that fall towards the input; gradual: one "
         "stage more after every --frozen-epochs")
      ->check(CLI::IsMember({"plain", "fine-tune", "gradual"}))
      ->capture_default_str();
  app.add_option("--frozen-epochs", f.frozen_epochs, "epochs of a recipe's phases before everything trains")
      ->check(at_least_one())
      ->capture_default_str();
  app.add_option("--steps-per-epoch", f.steps_per_epoch, "batches in an epoch; without it all of the data")
      ->check(at_least_one());
  add_batch(app, f, auto_batch);
  app.add_option("--accumulate", f.accumulate, "batches in a step")->check(at_least_one())->capture_default_str();
  app.add_option("--early-stopping", f.early_stopping,
                 "EPOCHS[:DELTA][:accuracy]: end (a phase) when the validation loss has not fallen for so long");
}

void add_optimizer_part(CLI::App& app, TrainingFlags& f) {
  app.add_option("--optimizer", f.optimizer, "adam, rmsprop, sgd or adamw")
      ->check(CLI::IsMember({"adam", "rmsprop", "sgd", "adamw"}))
      ->capture_default_str();
  app.add_option("--lr", f.learning_rate, "learning rate; without it the optimiser's own")->check(positive_number());
  app.add_option("--weight-decay", f.weight_decay,
                 "without it none; of adamw 0.01, with --numerics keras 0.004. Of adamw decoupled, of the others added "
                 "to the gradient")
      ->check(number_that([](double value) { return value >= 0; }, "0 or more", "NUMBER >= 0"));
  app.add_option("--momentum", f.momentum, "of sgd and rmsprop; without it none")->check(fraction());
  app.add_option("--schedule", f.schedule,
                 "of the learning rate: constant, step:EPOCHS[:FACTOR], cosine, one-cycle or plateau[:PATIENCE]")
      ->capture_default_str();
  app.add_option("--warmup", f.warmup, "steps over which the learning rate rises")->check(CLI::Range(0, 1'000'000'000));
  app.add_option("--group", f.groups,
                 "LAYERS=RATE[,DECAY]: layers (a name or pattern) with this times the learning rate; may be repeated")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  app.add_option("--layer-decay", f.layer_decay, "the rate of each stage is this times that of the next")
      ->check(positive_number())
      ->capture_default_str();
  app.add_flag("--no-decay-1d", f.no_decay_1d, "no weight decay for biases and norms");
  app.add_option("--clip-norm", f.clip_norm, "the most that all gradients together may measure")
      ->check(positive_number());
  app.add_option("--clip-value", f.clip_value, "the most that a gradient may measure")->check(positive_number());
  app.add_option("--ema", f.ema, "decay of a moving average of the weights, which is what is validated and saved")
      ->check(fraction());
  app.add_option("--class-weights", f.class_weights, "of the loss: balanced, or W,W,... in the order of the classes")
      ->capture_default_str();
  app.add_flag("--balanced-sampling", f.balanced_sampling, "draw each class as often as the others");
}

void add_data_part(CLI::App& app, TrainingFlags& f) {
  app.add_option("--augment", f.augment,
                 "shear=0.2,zoom=0.2,hflip as Keras' ImageDataGenerator; crop,trivial,jitter=0.2,erase as torchvision");
  app.add_option("--label-smoothing", f.label_smoothing, "part of each target that is spread over all classes")
      ->check(fraction());
  app.add_option("--mixup", f.mixup, "alpha of mixup")->check(positive_number());
  app.add_option("--cutmix", f.cutmix, "alpha of CutMix")->check(positive_number());
  app.add_option("--numerics", f.numerics, "formulas and defaults of torch or keras")
      ->check(CLI::IsMember({"torch", "keras"}))
      ->capture_default_str();
  app.add_option("--precision", f.precision, "arithmetic of the network; in float16 the loss is scaled")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}))
      ->capture_default_str();
  app.add_option("--seed", f.seed, "of the head, the order and the augmentation")->capture_default_str();
  app.add_option("--feature-cache", f.feature_cache,
                 "where to keep what the frozen layers yield for each picture: a folder that runs share, memory or off")
      ->capture_default_str();
  app.add_option("--feature-cache-size", f.feature_cache_bytes, "its most, in bytes or as 500MB, 2GB")
      ->check(not_negative())  // which AsSizeValue reads as well, as a large number
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->capture_default_str();
  app.add_option("--augmented-variants", f.augmented_variants,
                 "epochs after which augmentation repeats itself, so that the cache serves it; 0: never")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  add_on_bad_image(app, f.on_bad_image);
  add_reduced_decoding(app, f.reduced_decoding);
}

}  // namespace

Initializer initializer(const TrainingFlags& flags) {
  return parse_numerics(flags.numerics) == Numerics::kKeras ? Initializer::kKeras : Initializer::kTorch;
}

void add_training_options(CLI::App& app, TrainingFlags& flags, bool auto_batch) {
  add_model_part(app, flags);
  add_duration_part(app, flags, auto_batch);
  add_optimizer_part(app, flags);
  add_data_part(app, flags);
}

TrainerOptions trainer_options(const TrainingFlags& flags, const Common& common) {
  TrainerOptions options{.optimizer = optimizer(flags),
                         .numerics = parse_numerics(flags.numerics),
                         .precision = parse_precision(flags.precision),
                         .schedule = Schedule::parse(flags.schedule, flags.warmup),
                         .layer_decay = flags.layer_decay,
                         .decay_one_dimensional = !flags.no_decay_1d,
                         .clip_norm = flags.clip_norm,
                         .clip_value = flags.clip_value,
                         .accumulate = flags.accumulate,
                         .ema_decay = flags.ema,
                         .label_smoothing = flags.label_smoothing,
                         .mixup_alpha = flags.mixup,
                         .cutmix_alpha = flags.cutmix,
                         .seed = flags.seed,
                         .feature_cache = feature_cache(flags),
                         .on_warning = warnings(common)};
  for (const auto& text : flags.groups) options.groups.push_back(group(text));
  set_class_weights(flags, options);
  return options;
}

FitOptions fit_options(const TrainingFlags& flags, const Common& common, const Model& model) {
  FitOptions options{.epochs = flags.epochs,
                     .steps_per_epoch = flags.steps_per_epoch,
                     .batch_size = flags.batch,
                     .loader_threads = loader_threads(common),
                     .early_stopping = early_stopping(flags.early_stopping)};
  if (flags.recipe == "fine-tune")
    options.phases = phases_of(FineTune{.frozen_epochs = flags.frozen_epochs, .epochs = flags.epochs}, model);
  if (flags.recipe == "gradual")
    options.phases =
        phases_of(GradualUnfreezing{.epochs_per_stage = flags.frozen_epochs, .final_epochs = flags.epochs}, model);
  return options;
}

std::pair<std::unique_ptr<Dataset>, std::unique_ptr<Dataset>> training_data(const TrainingFlags& flags,
                                                                            const Common& common) {
  // Everything that can be refused is refused before work begins.
  if (flags.val.empty() && !flags.val_split)
    throw Error(ErrorCode::kConfig, "expected --val or --val-split, found neither");
  (void)Cut::parse(flags.cut);
  (void)parse_batch_norm(flags.bn);
  (void)early_stopping(flags.early_stopping);
  if (flags.head != kKeepHead) (void)heads::parse(flags.head, 1, flags.seed, initializer(flags));
  const auto on_bad = parse_on_bad_image(flags.on_bad_image);
  const auto augment = Augment::parse(flags.augment);
  if (holds_texts(flags.domain, flags.train)) {
    if (on_bad == OnBadImage::kSkip || augment.enabled() || flags.reduced_decoding)
      throw Error(ErrorCode::kConfig,
                  "--on-bad-image skip, --augment and --reduced-decoding are for pictures, the data are texts");
    return with_validation(flags, open_texts(flags.train, flags.domain, {}), [&](const auto& classes) {
      return open_texts(flags.val, flags.domain, {.classes = classes});
    });
  }
  return with_validation(flags, open_pictures(flags.train, {.augment = augment, .on_bad_image = on_bad}, common),
                         [&](const auto& classes) {
                           return open_pictures(flags.val, {.on_bad_image = on_bad, .classes = classes}, common);
                         });
}

Model model_to_train(const TrainingFlags& flags, const Common& common, Dataset& train, Dataset& val,
                     const std::function<void(Model&)>& loaded) {
  Model model = load_model(flags.model, common);
  check_domain(model, holds_texts(flags.domain, flags.train));
  set_decoding(train, flags.reduced_decoding, model);
  set_decoding(val, flags.reduced_decoding, model);
  if (loaded) loaded(model);
  if (flags.head == kKeepHead) {
    check_same_classes(model, train);
  } else {
    model.replace_head(heads::parse(flags.head, std::ssize(train.classes()), flags.seed, initializer(flags)),
                       Cut::parse(flags.cut));
  }
  model.apply_freeze(flags.freeze);
  model.set_batch_norm(parse_batch_norm(flags.bn));
  return model;
}

}  // namespace graft::cli
