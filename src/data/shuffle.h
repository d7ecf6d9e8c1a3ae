/// Orders that are the same with every standard library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace graft::data {

/// 0 .. size-1, shuffled (Fisher-Yates) by the seed and the epoch alone.
std::vector<std::size_t> shuffled(std::size_t size, std::uint64_t seed, std::uint64_t epoch);

/// As many indices of `weights`, each with a chance of its weight, by the seed and the epoch alone.
std::vector<std::size_t> drawn(const std::vector<double>& weights, std::uint64_t seed, std::uint64_t epoch);

/// Which examples go to the second of two parts, drawn for each class by `seed`: `fraction` of a class (rounded down,
/// at least one where it has two or more). Throws Error kConfig unless 0 < fraction < 1.
std::vector<bool> second_part(const std::vector<std::int64_t>& labels, std::size_t classes, double fraction,
                              std::uint64_t seed);

}  // namespace graft::data
