#include "cli/common.h"

namespace graft::cli {

Command add_inspect(CLI::App& app) {
  auto model = std::make_shared<std::string>();
  app.add_option("MODEL", *model, "TorchScript file")->required();
  return [model](const Common& common) {
    const auto info = Model::load(*model, load_options(common)).inspect();
    print(common.json ? to_json(info) + "\n" : to_text(info));
  };
}

}  // namespace graft::cli
