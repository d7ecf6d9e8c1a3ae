#include <algorithm>
#include <cstdio>
#include <limits>

#include "cli/common.h"
#include "cli/numbers.h"

namespace graft::cli {

namespace {

constexpr const char* kInMemory = "memory";

struct Options {
  ModelFile model;
  std::string train, val, out;
  std::string cut = "features", head = "linear", freeze = "all", bn = "follow", optimizer = "adam", augment,
              numerics = "torch";
  std::string precision = "float32", on_bad_image = "fail", keep = "best", schedule = "constant";
  std::int64_t epochs = 5, steps_per_epoch = 0, batch = 32, warmup = 0;
  double label_smoothing = 0, mixup = 0, cutmix = 0;
  std::optional<double> learning_rate;
  std::uint64_t seed = 0;
  bool reduced_decoding = false;
  std::string feature_cache = kInMemory;
  std::uint64_t feature_cache_bytes = 1 << 30;
  std::int64_t augmented_variants = 0;
};

std::string percent(double fraction) {
  char text[16];
  std::snprintf(text, sizeof text, "%.2f %%", fraction * 100);
  return text;
}

std::string figures(double loss, double accuracy) {
  char text[64];
  std::snprintf(text, sizeof text, "loss %.4f  accuracy %s", loss, percent(accuracy).c_str());
  return text;
}

constexpr const char* kKeepHead = "keep";

/// A head that is kept was trained for these classes in this order, or its outputs mean something else.
void check_same_classes(const Model& model, const Dataset& data) {
  const auto& labels = model.labels();
  const bool same = std::equal(labels.begin(), labels.end(), data.classes().begin(), data.classes().end(),
                               [](const Label& label, const std::string& name) { return label.id == name; });
  if (!same)
    throw Error(ErrorCode::kMismatch,
                "--head keep: the model's classes are not those of the training folder; give it a new head");
}

FeatureCacheOptions feature_cache(const Options& o) {
  FeatureCacheOptions options;
  options.enabled = o.feature_cache != "off";
  if (options.enabled && o.feature_cache != kInMemory) options.directory = o.feature_cache;
  options.max_bytes = static_cast<std::int64_t>(
      std::min<std::uint64_t>(o.feature_cache_bytes, std::numeric_limits<std::int64_t>::max()));
  options.augmented_variants = o.augmented_variants;
  return options;
}

/// One bar for each epoch, and one line that stays.
class EpochProgress {
 public:
  EpochProgress(const Common& common, std::int64_t epochs) : progress_(common), epochs_(epochs) {}

  void step(const StepInfo& info) {
    title_ = "epoch " + std::to_string(info.epoch + 1) + "/" + std::to_string(epochs_);
    std::string text = figures(info.loss, info.accuracy);
    if (info.validating) {
      text += "  validating";
    } else {
      char rate[32];
      std::snprintf(rate, sizeof rate, "  %.1f images/s", info.images_per_second);
      text += rate;
    }
    progress_.update(title_, info.step, info.steps, text);
  }

  void epoch(const EpochInfo& info) {
    std::string line = title_ + "  " + figures(info.loss, info.accuracy);
    if (info.val_accuracy) line += "  val " + figures(*info.val_loss, *info.val_accuracy);
    progress_.finish(line + "  " + clock_text(info.seconds));
  }

 private:
  Progress progress_;
  std::int64_t epochs_;
  std::string title_;
};

void run(const Options& o, const Common& common) {
  // Everything that can be refused is refused before work begins.
  const auto numerics = parse_numerics(o.numerics);
  const auto optimizer = parse_optimizer(o.optimizer, o.learning_rate);
  const auto schedule = Schedule::parse(o.schedule, o.warmup);
  const auto augment = Augment::parse(o.augment);
  const auto policy = parse_batch_norm(o.bn);
  const auto cut = Cut::parse(o.cut);
  const auto initializer = numerics == Numerics::kKeras ? Initializer::kKeras : Initializer::kTorch;
  if (o.head != kKeepHead) (void)heads::parse(o.head, 1, o.seed, initializer);
  check_writable(o.out);
  const auto on_bad = parse_on_bad_image(o.on_bad_image);
  ImageFolder train(o.train, {.augment = augment, .on_bad_image = on_bad});
  ImageFolder val(o.val, {.on_bad_image = on_bad, .classes = train.classes()});

  Model model = load_model(o.model, common);
  const auto decode = decode_options(o.reduced_decoding, model.preprocessing());
  if (!augment.random_resized_crop) train.set_decode_options(decode);  // a part of a picture needs more of it
  val.set_decode_options(decode);
  if (o.head == kKeepHead) {
    check_same_classes(model, train);
  } else {
    model.replace_head(heads::parse(o.head, std::ssize(train.classes()), o.seed, initializer), cut);
  }
  model.apply_freeze(o.freeze);
  model.set_batch_norm(policy);

  EpochProgress progress(common, o.epochs);
  Trainer trainer(model, {.optimizer = optimizer,
                          .numerics = numerics,
                          .precision = parse_precision(o.precision),
                          .schedule = schedule,
                          .label_smoothing = o.label_smoothing,
                          .mixup_alpha = o.mixup,
                          .cutmix_alpha = o.cutmix,
                          .seed = o.seed,
                          .feature_cache = feature_cache(o),
                          .on_warning = warnings(common)});
  const auto history = trainer.fit(train, val,
                                   {.epochs = o.epochs,
                                    .steps_per_epoch = o.steps_per_epoch,
                                    .batch_size = o.batch,
                                    .loader_threads = loader_threads(common),
                                    .on_step = [&](const StepInfo& info) { progress.step(info); },
                                    .on_epoch = [&](const EpochInfo& info) { progress.epoch(info); }});
  if (o.keep == "best") trainer.restore_best();
  model.save(o.out);
  print(common.json ? to_json(history) + "\n" : to_text(history) + "saved " + o.out + " (" + o.keep + " epoch)\n");
}

}  // namespace

Command add_finetune(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  app.add_option("--train", o->train, "folder with a folder of pictures for each class")->required();
  app.add_option("--val", o->val, "the same classes, other pictures")->required();
  app.add_option("--out", o->out, "file for the trained model")->required();
  app.add_option("--cut", o->cut, "where the old head ends: features, penultimate or a layer's name")
      ->capture_default_str();
  app.add_option("--head", o->head,
                 "linear, cosine, mlp:WIDTH[,WIDTH...], with a pooling before it if not the average (gem+linear; max, "
                 "average_max, attention), or keep: train the one there is further")
      ->capture_default_str();
  app.add_option("--freeze", o->freeze, "all, none, until:LAYER or stages:N")->capture_default_str();
  app.add_option("--bn", o->bn, "batch norm: follow, inference or train")->capture_default_str();
  app.add_option("--epochs", o->epochs, "times through the data")->check(at_least_one())->capture_default_str();
  app.add_option("--steps-per-epoch", o->steps_per_epoch, "batches in an epoch; without it all of the data")
      ->check(at_least_one());
  app.add_option("--batch", o->batch, "pictures in a step")->check(at_least_one())->capture_default_str();
  app.add_option("--optimizer", o->optimizer, "adam, rmsprop, sgd or adamw")
      ->check(CLI::IsMember({"adam", "rmsprop", "sgd", "adamw"}))
      ->capture_default_str();
  app.add_option("--lr", o->learning_rate, "learning rate; without it the optimiser's own")->check(positive_number());
  app.add_option("--schedule", o->schedule,
                 "of the learning rate: constant, step:EPOCHS[:FACTOR], cosine, one-cycle or plateau[:PATIENCE]")
      ->capture_default_str();
  app.add_option("--warmup", o->warmup, "batches over which the learning rate rises")
      ->check(CLI::Range(0, 1'000'000'000));
  app.add_option("--augment", o->augment,
                 "shear=0.2,zoom=0.2,hflip as Keras' ImageDataGenerator; crop,trivial,jitter=0.2,erase as torchvision");
  app.add_option("--label-smoothing", o->label_smoothing, "part of each target that is spread over all classes")
      ->check(fraction());
  app.add_option("--mixup", o->mixup, "alpha of mixup")->check(positive_number());
  app.add_option("--cutmix", o->cutmix, "alpha of CutMix")->check(positive_number());
  app.add_option("--numerics", o->numerics, "formulas and defaults of torch or keras")
      ->check(CLI::IsMember({"torch", "keras"}))
      ->capture_default_str();
  app.add_option("--precision", o->precision, "arithmetic of the network")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--seed", o->seed, "of the head, the order and the augmentation")->capture_default_str();
  app.add_option("--feature-cache", o->feature_cache,
                 "where to keep what the frozen layers yield for each picture: a folder that runs share, memory or off")
      ->capture_default_str();
  app.add_option("--feature-cache-size", o->feature_cache_bytes, "its most, in bytes or as 500MB, 2GB")
      ->check(not_negative())  // which AsSizeValue reads as well, as a large number
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->capture_default_str();
  app.add_option("--augmented-variants", o->augmented_variants,
                 "epochs after which augmentation repeats itself, so that the cache serves it; 0: never")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--on-bad-image", o->on_bad_image, "unreadable pictures")
      ->check(CLI::IsMember({"fail", "skip"}))
      ->capture_default_str();
  add_reduced_decoding(app, o->reduced_decoding);
  app.add_option("--keep", o->keep, "which epoch's weights to save")
      ->check(CLI::IsMember({"best", "last"}))
      ->capture_default_str();
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
