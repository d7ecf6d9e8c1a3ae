/// What a search for good settings came to, for people: self-contained HTML pages as those of graft/html_report.h.
/// Thread-safety: functions without state; safe everywhere.
#pragma once

#include <string>
#include <vector>

#include <graft/export.h>
#include <graft/lr_finder.h>
#include <graft/sweep.h>

namespace graft {

/// The loss over the learning rate, and the rate that is suggested. Throws Error kConfig for an empty curve.
GRAFT_EXPORT std::string to_html(const LrCurve& curve);

/// The runs compared: the best epoch's validation accuracy over what was varied, figures, curves. Throws Error kConfig
/// for no runs.
GRAFT_EXPORT std::string to_html(const std::vector<SweepRun>& runs);

}  // namespace graft
