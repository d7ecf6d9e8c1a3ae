// Decodes and resizes pictures as the library does and writes the pixels, for pixels_test.py to compare with Pillow's.
//
//   dump_pixels none|stretch:WxH|shorter:N|reduced:N nearest|bilinear|bicubic FILE...
//
// reduced:N is shorter:N of a picture decoded at reduced size, as Preprocessing::reduced_size() has it.
// To standard output, for each file: its width and height as text on a line, then height x width x 3 bytes.
#include <cstdio>
#include <string>

#include <graft/graft.h>

namespace {

graft::Image resized(const graft::Image& image, const std::string& how, graft::Interpolation interpolation) {
  int width = 0, height = 0;
  if (std::sscanf(how.c_str(), "stretch:%dx%d", &width, &height) == 2)
    return image.resize(width, height, interpolation);
  if (std::sscanf(how.c_str(), "shorter:%d", &width) == 1 || std::sscanf(how.c_str(), "reduced:%d", &width) == 1)
    return image.resize_shorter(width, interpolation);
  return image;
}

graft::DecodeOptions decode_options(const std::string& how) {
  graft::DecodeOptions options;
  auto preprocessing = graft::Preprocessing::torch_mode();
  if (std::sscanf(how.c_str(), "reduced:%d", &*preprocessing.resize_shorter_px) == 1)
    options.reduced = preprocessing.reduced_size();
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    for (int i = 3; i < argc; ++i) {
      const auto image =
          resized(graft::Image::read(argv[i], decode_options(argv[1])), argv[1], graft::parse_interpolation(argv[2]));
      std::printf("%d %d\n", image.width_px(), image.height_px());
      std::fwrite(image.rgb().data(), 1, image.rgb().size(), stdout);
    }
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "dump_pixels: %s\n", error.what());
    return 1;
  }
}
