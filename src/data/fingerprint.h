/// Tells whether pictures are the same: to the byte of their pixels, or but for compression and size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <graft/image.h>

namespace graft::data {

struct Fingerprint {
  std::string pixels;      ///< SHA-256 of the decoded picture
  std::uint64_t hash = 0;  ///< of what it shows: few bits differ between near pictures
};

/// Throws Error kConfig for an empty image.
Fingerprint fingerprint_of(const Image& image);

/// Whether both show the same, down to small details. False where there are none.
bool shows_the_same(const Image& a, const Image& b);

/// The members of `all` that are the same picture as another, by groups; each group, and the list of them, in order.
/// Where fingerprints are near but pixels differ, the pictures are read once more by `image`.
std::vector<std::vector<std::size_t>> same_pictures(std::span<const Fingerprint> all,
                                                    const std::function<Image(std::size_t)>& image);

}  // namespace graft::data
