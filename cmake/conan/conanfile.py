"""conan create cmake/conan: the release's tag, from where the clone that this file lies in was cloned from.

LibTorch is not taken from Conan: set Torch_DIR=/path/to/libtorch/share/cmake/Torch in the environment, or have the torch
package in the Python that CMake finds.
"""
import os

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, update_conandata
from conan.tools.scm import Git


class GraftConan(ConanFile):
    name = "graft"
    version = "0.1.0"
    description = "Transfer learning for C++ over LibTorch"
    license = "Apache-2.0"
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {
        "shared": [True, False],
        "fPIC": [True, False],
        "with_opencv": [True, False],          # decode with OpenCV, and build graft::opencv
        "with_icu": [True, False],             # networks for text
        "system_dependencies": [True, False],  # OpenSSL, nlohmann-json, OpenCV, stb and ICU of the system instead of Conan's
    }
    default_options = {"shared": False, "fPIC": True, "with_opencv": False, "with_icu": False, "system_dependencies": False}
    implements = ["auto_shared_fpic"]

    def export(self):
        git = Git(self, self.recipe_folder)
        update_conandata(self, {"repository": os.environ.get("GRAFT_REPOSITORY") or git.run("remote get-url origin")})

    def requirements(self):
        if self.options.system_dependencies:
            return
        self.requires("openssl/[>=3 <4]")
        self.requires("nlohmann_json/[>=3.9 <4]", visible=False)
        if self.options.with_opencv:
            self.requires("opencv/[>=4.5 <5]", transitive_headers=True)
            self.requires("libjpeg-turbo/[>=2.1 <4]")
            self.requires("libpng/[>=1.6 <2]")
        else:
            self.requires("stb/[*]", visible=False)

        if self.options.with_icu:
            self.requires("icu/[>=72 <80]")

    def validate(self):
        check_min_cppstd(self, 20)

    def layout(self):
        cmake_layout(self, src_folder="src")

    def source(self):
        Git(self).clone(self.conan_data["repository"], target=".", args=["--depth", "1", "--branch", f"v{self.version}"])

    def generate(self):
        toolchain = CMakeToolchain(self)
        opencv = "ON" if self.options.with_opencv else "OFF"
        toolchain.cache_variables.update({
            "GRAFT_BUILD_CLI": "OFF", "GRAFT_BUILD_EXAMPLES": "OFF", "GRAFT_BUILD_TESTS": "OFF",
            "GRAFT_WITH_OPENCV": opencv, "GRAFT_BUILD_OPENCV": opencv,
            "GRAFT_WITH_ICU": "ON" if self.options.with_icu else "OFF",
        })
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        # The package's own graftConfig.cmake finds LibTorch, which Conan knows nothing of.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "graft")]
