// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0.

#include <string>

#include <ATen/ops/from_blob.h>

#include <graft/error.h>
#include <graft/files.h>

#include "base/translate.h"

namespace graft {

void write_npy(const std::filesystem::path& path, const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.scalar_type() != at::kFloat)
    throw Error(ErrorCode::kConfig, path.string() + ": expected a float32 tensor");
  base::translated("writing ", path.native(), [&] {
    std::string shape;
    for (const auto size : tensor.sizes()) shape += std::to_string(size) + ", ";
    if (tensor.dim() > 1) shape.resize(shape.size() - 2);  // (3, 2) but (3, )
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
    constexpr std::size_t kPreamble = 10, kAlignment = 64;
    header.append((kAlignment - (kPreamble + header.size() + 1) % kAlignment) % kAlignment, ' ');
    header += '\n';
    std::string bytes("\x93NUMPY\x01\x00", 8);
    bytes += static_cast<char>(header.size() & 0xff);
    bytes += static_cast<char>(header.size() >> 8);
    bytes += header;
    const auto values = tensor.detach().cpu().contiguous();
    bytes.append(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
    write_atomically(path, bytes);
  });
}

}  // namespace graft
