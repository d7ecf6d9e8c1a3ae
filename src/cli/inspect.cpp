#include "cli/common.h"

namespace graft::cli {

Command add_inspect(CLI::App& app) {
  struct Options {
    ModelFile model;
    bool plan = false;
    std::string precision = "float32";
  };
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  auto* plan = app.add_flag("--plan", o->plan, "what the network is compiled to for the CPU, and what is not, and why");
  app.add_option("--precision", o->precision, "of the plan")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16", "int8", "auto"}))
      ->capture_default_str()
      ->needs(plan);
  return [o](const Common& common) {
    const auto model = load_model(o->model, common);
    const auto show = [&](const auto& info) { print(common.json ? to_json(info) + "\n" : to_text(info)); };
    if (o->plan) {
      show(inspect_plan(model, parse_precision(o->precision)));
    } else {
      show(model.inspect());
    }
  };
}

}  // namespace graft::cli
