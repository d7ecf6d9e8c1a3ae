#include "cli/labelled.h"

#include <charconv>

#include "cli/numbers.h"

namespace graft::cli {

namespace {

/// "hflip", "8" or "hflip,8".
TestTimeAugmentation parse_tta(const std::string& text, const std::string& augment) {
  TestTimeAugmentation tta;
  if (text.empty()) return tta;
  for (const auto& part : CLI::detail::split(text, ',')) {
    std::int64_t views = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), views);
    const bool is_number = error == std::errc() && end == part.data() + part.size() && views >= 1;
    if (part == "hflip" && !tta.horizontal_flip) {
      tta.horizontal_flip = true;
    } else if (is_number && tta.augmented_views == 0) {
      tta.augmented_views = views;
    } else {
      throw Error(ErrorCode::kConfig,
                  "--tta: expected hflip, a number of views, or both (hflip,4), found \"" + text + "\"");
    }
  }
  if (tta.augmented_views > 0) tta.augment = Augment::parse(augment);
  return tta;
}

}  // namespace

void add_labelled_options(CLI::App& app, Labelled& labelled) {
  app.add_option("--data", labelled.data, "a folder for each of the model's classes; or a CSV file of texts")
      ->required();
  add_domain(app, labelled.domain);
  add_on_bad_image(app, labelled.on_bad_image);
  app.add_option("--batch", labelled.batch, "pictures for one forward pass")
      ->check(at_least_one())
      ->capture_default_str();
  add_precision(app, labelled.precision);
}

std::unique_ptr<Dataset> open(const Labelled& labelled, const Model& model, const Common& common) {
  if (holds_texts(labelled.domain, model))
    return open_texts(labelled.data, labelled.domain, {.classes = classes_of(model), .allow_empty_class = true});
  return open_pictures(labelled.data,
                       {.on_bad_image = parse_on_bad_image(labelled.on_bad_image),
                        .classes = classes_of(model),
                        .allow_empty_class = true},
                       common);
}

void add_measuring_options(CLI::App& app, Measuring& measuring) {
  app.add_option(
      "--tta", measuring.tta,
      "test-time augmentation, the mean of the probabilities of several views of each picture: hflip (it and "
      "its mirror image), a number of views changed as --augment says, or both (hflip,4)");
  app.add_option("--augment", measuring.augment, "changes of those views, as for finetune")->capture_default_str();
  app.add_option("--bootstrap", measuring.bootstrap, "resamples for the 95 % intervals; 0: none")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000}))
      ->capture_default_str();
  app.add_option("--seed", measuring.seed, "of the resamples and of the changed views")->capture_default_str();
}

EvaluateOptions evaluate_options(const Labelled& labelled, const Measuring& measuring, const Common& common,
                                 Progress& progress, const std::string& title) {
  return {.batch_size = labelled.batch,
          .loader_threads = loader_threads(common),
          .tta = parse_tta(measuring.tta, measuring.augment),
          .bootstrap_samples = measuring.bootstrap,
          .seed = measuring.seed,
          .on_step = [&progress, title](std::int64_t done, std::int64_t of) { progress.update(title, done, of, ""); }};
}

}  // namespace graft::cli
