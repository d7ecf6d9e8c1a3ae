#include "cli/common.h"

namespace graft::cli {

Command add_inspect(CLI::App& app) {
  auto model = std::make_shared<ModelFile>();
  add_model_options(app, *model);
  return [model](const Common& common) {
    const auto info = load_model(*model, common).inspect();
    print(common.json ? to_json(info) + "\n" : to_text(info));
  };
}

}  // namespace graft::cli
