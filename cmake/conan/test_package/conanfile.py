import os

from conan import ConanFile
from conan.tools.build import can_run
from conan.tools.cmake import CMake, cmake_layout


class GraftTest(ConanFile):
    settings = "os", "arch", "compiler", "build_type"
    generators = "CMakeDeps", "CMakeToolchain"

    def requirements(self):
        self.requires(self.tested_reference_str)

    def layout(self):
        cmake_layout(self)

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def test(self):
        if can_run(self):
            package = self.dependencies["graft"].package_folder
            model = os.path.join(package, "share", "graft", "models", "graft_mini.pt")
            picture = os.path.join(self.source_folder, "..", "..", "..", "examples", "images", "star.png")
            self.run(f'"{os.path.join(self.cpp.build.bindir, "consumer")}" "{model}" "{picture}"', env="conanrun")
