/// Differences from a reference that tests print, so that docs/fidelity.md can state what was seen.
#pragma once

#include <cstdio>
#include <string>

#include <gtest/gtest.h>

namespace graft::testing {

/// Prints the largest difference seen and holds it to `tolerance`.
inline ::testing::AssertionResult measured(const std::string& what, double difference, double tolerance) {
  std::printf("[ measured ] %s: largest difference %.2g, tolerance %.2g\n", what.c_str(), difference, tolerance);
  if (difference <= tolerance) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << what << ": largest difference " << difference << ", tolerance " << tolerance;
}

}  // namespace graft::testing
