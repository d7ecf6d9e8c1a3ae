#include <graft/calibration.h>

#include "base/translate.h"
#include "model/impl.h"
#include "model/task.h"

namespace graft {

void set_calibration(Model& model, const Calibration& calibration, std::string_view task) {
  base::translated("calibrating", [&] {
    auto& tasks = Model::Impl::of(model).tasks;
    auto& found = tasks.at(static_cast<std::size_t>(&model::task_named(tasks, task) - tasks.data()));
    model::check_calibration(calibration, found.kind);
    found.calibration = calibration;
  });
}

}  // namespace graft
