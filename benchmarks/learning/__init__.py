"""What does it learn, beside everything simpler that trains on the same rows?"""
