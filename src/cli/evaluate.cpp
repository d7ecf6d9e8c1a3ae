#include "cli/common.h"
#include "cli/numbers.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  std::string data;
  std::string on_bad_image = "fail", precision = "float32";
  std::int64_t batch = 32;
  bool reduced_decoding = false;
};

void run(const Options& o, const Common& common) {
  Model model = load_model(o.model, common);
  const ImageFolder data(o.data, {.on_bad_image = parse_on_bad_image(o.on_bad_image),
                                  .classes = classes_of(model),
                                  .allow_empty_class = true,
                                  .decode = decode_options(o.reduced_decoding, model.preprocessing())});
  const auto result = Trainer(model, {.precision = parse_precision(o.precision), .on_warning = warnings(common)})
                          .evaluate(data, o.batch, loader_threads(common));
  print(common.json ? to_json(result) + "\n" : to_text(result));
}

}  // namespace

Command add_evaluate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  app.add_option("--data", o->data, "a folder for each of the model's classes")->required();
  app.add_option("--on-bad-image", o->on_bad_image, "unreadable pictures")
      ->check(CLI::IsMember({"fail", "skip"}))
      ->capture_default_str();
  app.add_option("--batch", o->batch, "pictures for one forward pass")->check(at_least_one())->capture_default_str();
  add_reduced_decoding(app, o->reduced_decoding);
  add_precision(app, o->precision);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
